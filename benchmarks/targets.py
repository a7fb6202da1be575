"""What is wanted of each row: how many times as good as the standard library.

Read by the report; nothing fails for a row that falls short.
"""

GOAL: dict[str, float] = {
    "queue_small": 35,
    "queue_tuple": 30,
    "queue_bytes_1k": 30,
    "queue_bytes_64k": 15,
    "queue_4p4c": 25,
    "queue_pingpong": 25,
    "simplequeue_small": 35,
    "queue_put_get_many": 60,
    "queue_idle_cpu": 1,
    "pipe_small": 20,
    "pipe_pingpong": 10,
    "pipe_bytes_1M": 4,
    "ndarray_64MB_queue": 25,
    "shared_array_64MB": 500,
    "ndarray_64MB_pool": 25,
    "ndarray_64MB_executor": 20,
    "pool_map_small": 1.7,
    "pool_map_chunk1": 70,
    "pool_imap_unordered": 45,
    "pool_starmap": 2,
    "pool_apply_async": 40,
    "pool_apply_latency": 50,
    "executor_submit": 80,
    "executor_map_chunk1": 100,
    "executor_latency": 50,
    "pool_startup_shutdown": 4,
    "process_start_join": 2.2,
    "process_start_join_1GB": 1,
    "lock_uncontended": 1.3,
    "rlock_uncontended": 1.3,
    "semaphore_uncontended": 1.3,
    "lock_with": 2.6,
    "lock_contended": 2,
    "event_pingpong": 15,
    "condition_pingpong": 10,
    "barrier_2": 10,
    "value_increment_1p": 3.7,
    "value_increment_2p": 4,
    "value_read": 4,
    "rawvalue_read": 1,
    "rawvalue_write": 1,
    "array_get": 13,
    "array_set": 13,
    "array_slice": 1.8,
    "atomic_add": 10,
    "manager_dict_ops": 20,
    "manager_list_ops": 20,
    "shared_dict_ops": 20,
    "native_map": 50,
    "native_block": 50,
}

#: Goals that differ where all processes share one core.
GOAL_ONE_CORE: dict[str, float] = {"queue_pingpong": 8, "pool_apply_latency": 10, "executor_latency": 14}

#: Goals that are against another library than the standard one, which has nothing of the kind.
REFERENCE: dict[str, str] = {"queue_put_get_many": "faster-fifo"}
