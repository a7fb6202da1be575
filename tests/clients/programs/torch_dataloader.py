"""torch's DataLoader with workers: its queues are `torch.multiprocessing`'s, tensors travel by descriptor."""
# /// script
# dependencies = ["torch==2.13.0", "numpy>=2,<3"]
# [tool.client]
# title = "torch: DataLoader, 2 workers (fork, spawn)"
# environment = "clients-torch"
# seconds = 300
# ///

import sys

import torch
import torch.multiprocessing
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info


class Squares(Dataset):
    def __len__(self):
        return 400

    def __getitem__(self, n):
        return torch.full((50, 50), float(n)), n * n


class Stream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        return iter(range(info.id, 40, info.num_workers))


class Faulty(Squares):
    def __getitem__(self, n):
        if n == 100:
            raise ValueError("item 100")
        return super().__getitem__(n)


def load(method, **options):
    loader = DataLoader(Squares(), batch_size=20, num_workers=2, multiprocessing_context=method, **options)
    for _ in range(2):
        print(method, sum(float(images.sum()) + int(labels.sum()) for images, labels in loader))


def send(queue, tensor, received):
    tensor += 1
    queue.put(torch.arange(10) * 2)
    queue.put("end")
    received.wait()


def exchange(method):
    context = torch.multiprocessing.get_context(method)
    queue, received, tensor = context.Queue(), context.Event(), torch.zeros(5).share_memory_()
    process = context.Process(target=send, args=(queue, tensor, received))
    process.start()
    print(queue.get().tolist(), queue.get(), tensor.tolist())
    received.set()
    process.join()
    print(process.exitcode)


if __name__ == "__main__":
    for method in sys.argv[1:] or ("fork", "spawn"):
        load(method)
        load(method, persistent_workers=True, prefetch_factor=4)
        print(sorted(int(x) for x in DataLoader(Stream(), num_workers=2, multiprocessing_context=method)))
        try:
            for _ in DataLoader(Faulty(), batch_size=20, num_workers=2, multiprocessing_context=method):
                pass
        except ValueError as error:
            print(str(error).splitlines()[-1])
        exchange(method)
