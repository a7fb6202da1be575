/*
 * What a worker that has ended had in hand. Called by: py/crew_workers.c, when fastmp/_pool_upkeep.py or the executor
 * has reaped the worker; py/crew_calls.c, when all calls are to fail.
 *
 * A task is in one of three places: in its cell (TAKEN by the dead worker), in the worker's line (busy), or its result
 * is published. A line may be busy still when the result is published; whether it is, is known from the last answer
 * taken from that worker, or seen in the ring. Found in cell and line, the loss is told once.
 */
#include "pool/crew.h"

#include <string.h>

struct loss {
    struct fmp_crew *crew;
    PyObject *make_error;
    struct fmp_task_head last; /* told already */
    Py_ssize_t count;
};

static void
tell(struct loss *loss, const struct fmp_task_head *head)
{
    if (head->job == 0 || (head->job == loss->last.job && head->index == loss->last.index)) {
        return;
    }
    loss->last = *head;
    fmp_crew_answered(loss->crew);
    PyObject *job = (PyObject *)fmp_crew_job(loss->crew, head->job);
    if (job != NULL) {
        loss->count++;
        PyObject *error = PyObject_CallFunction(loss->make_error, "OI", job, (unsigned)head->index);
        (void)fmp_crew_deliver(loss->crew, head, FMP_RESULT_ERROR, error != NULL ? error : fmp_take_exception());
    }
}

/* A cell of the task ring that the dead worker had taken: its record is whole, as the parent had published it. */
static void
on_dead_task(void *ctx, uint32_t owner, bool was_taken, uint64_t position, const struct fmp_record *record)
{
    (void)owner;
    struct loss *loss = ctx;
    struct fmp_channel *tasks = &loss->crew->tasks;
    if (!was_taken) {
        return;
    }
    if (record->block != 0 && fmp_heap_receive(tasks->space->heap, record->block, tasks->ring_off, position) == 0) {
        fmp_heap_free(tasks->space->heap, record->block);
    }
    struct fmp_task_head head;
    memcpy(&head, record->data, sizeof head);
    tell(loss, &head);
}

static void
recover_tasks(struct loss *loss, uint32_t id)
{
    struct fmp_ring *ring = &loss->crew->tasks.ring;
    void (*on_dead)(void *, uint32_t, bool, uint64_t, const struct fmp_record *) = ring->on_dead;
    void *ctx = ring->on_dead_ctx;
    ring->on_dead = on_dead_task;
    ring->on_dead_ctx = loss;
    fmp_ring_recover(ring, id);
    ring->on_dead = on_dead;
    ring->on_dead_ctx = ctx;
}

static bool
is_about(const struct fmp_task_head *head, const struct fmp_task_head *task)
{
    return head->job == task->job && head->index == task->index;
}

/* Is the result still in the ring, behind one that a living worker is writing? */
static bool
result_is_on_its_way(struct fmp_crew *crew, const struct fmp_task_head *task)
{
    struct fmp_ring *ring = &crew->results.ring;
    uint64_t at = fmp_load_acquire(&ring->shm->head);                          /* A3 of ring.c */
    for (uint64_t left = ring->limit + FMP_RING_LAG; left > 0; left--, at++) { /* head may be behind */
        const struct fmp_record *record = fmp_ring_peek(ring, at);
        struct fmp_task_head head;
        if (record != NULL) {
            memcpy(&head, record->data, sizeof head);
            if (is_about(&head, task)) {
                return true;
            }
        }
    }
    return false;
}

/* The worker's line says busy. It is also what a worker leaves that is killed right behind its result. */
static bool
has_answered(struct fmp_crew *crew, uint32_t place, const struct fmp_task_head *task)
{
    const struct fmp_answer *last = &crew->answers[place];
    return (last->job == task->job && last->index == task->index) || result_is_on_its_way(crew, task);
}

Py_ssize_t
fmp_crew_bury_worker(struct fmp_crew *crew, uint32_t place, PyObject *make_error)
{
    struct fmp_worker_shm *line = &crew->shm->workers[place];
    struct loss loss = {.crew = crew, .make_error = make_error};
    uint32_t id = fmp_load_acquire(&line->id); /* W2: pairs with W3 in fmp_worker_run */
    if (id != 0) {
        fmp_ring_recover(&crew->results.ring, id);
    }
    if (fmp_crew_pump(crew) < 0) {
        return -1;
    }
    if (fmp_load_acquire(&line->state) == FMP_WORKER_BUSY) { /* W2: pairs with W1 in worker.c */
        struct fmp_task_head head = {.job = line->job, .index = line->index};
        if (!has_answered(crew, place, &head)) {
            tell(&loss, &head);
        }
    }
    if (id != 0) {
        recover_tasks(&loss, id);
        fmp_space_bury(crew->tasks.space, id);
    }
    fmp_store_relaxed(&line->state, FMP_WORKER_IDLE);
    fmp_store_relaxed(&line->id, 0);
    fmp_store_relaxed(&line->pid, 0);
    crew->pids[place] = 0;
    return loss.count;
}

/* The first item of an ordered stream that has not arrived: what came behind it is not handed out any more. */
static Py_ssize_t
first_missing(const struct fmp_job *job)
{
    for (Py_ssize_t i = job->next;; i++) {
        PyObject *key = PyLong_FromSsize_t(i);
        int known = key != NULL ? PyDict_Contains(job->value, key) : -1;
        Py_XDECREF(key);
        if (known <= 0) {
            PyErr_Clear();
            return i;
        }
    }
}

static void
fail_job(struct fmp_crew *crew, struct fmp_job *job, PyObject *error)
{
    struct fmp_task_head head = {.job = job->id};
    if (job->kind == FMP_JOB_MAP) {
        job->arrived = (job->length - 1) / job->chunksize; /* this error is the last chunk */
    } else if (job->kind == FMP_JOB_STREAM) {
        Py_ssize_t last = job->ordered ? first_missing(job) : job->arrived;
        head.index = (uint32_t)last;
        job->length = last + 1;
    }
    (void)fmp_crew_deliver(crew, &head, FMP_RESULT_ERROR, Py_NewRef(error));
}

void
fmp_crew_fail_all(struct fmp_crew *crew, PyObject *error)
{
    fmp_crew_drop_feeds(crew);
    for (uint32_t place = 0; place < crew->job_room; place++) {
        struct fmp_job *job = crew->jobs[place];
        if (job != NULL) {
            Py_INCREF(job);
            fail_job(crew, job, error);
            Py_DECREF(job);
        }
    }
    crew->in_flight = 0;
    fmp_crew_poke(crew);
}
