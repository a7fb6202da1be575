/*
 * What a pool shares between parent and workers. Called by: crew, feed, deliver, worker.
 *
 * Two rings carry tasks to the workers and results back. Every record has the head below. At most FMP_CREW_DEPTH tasks
 * are between "sent" and "result taken" at any time, so no worker ever waits for room in the result ring. Each worker
 * has a line in which it says what it is doing, so that the parent knows what a killed one had in hand: the line is
 * written while the task's cell is still taken (so the task is in one of the two, or both, and never in none), and
 * cleared after the result is published.
 */
#ifndef FMP_POOL_LAYOUT_H
#define FMP_POOL_LAYOUT_H

#include "conn/message.h"

/* Tasks on their way: enough to keep workers busy while the parent is off its core for a scheduler's slice. */
#define FMP_CREW_DEPTH (1024u - FMP_RING_SPARE_CELLS)

/* The message tag of a task: how the payload becomes a call. */
enum fmp_task_kind {
    FMP_TASK_EXIT,      /* the worker ends */
    FMP_TASK_CALL,      /* payload args: f(*args) */
    FMP_TASK_CALL_KW,   /* payload (args, kwargs): f(*args, **kwargs) */
    FMP_TASK_MAP,       /* payload x: f(x) */
    FMP_TASK_STAR,      /* payload x: f(*x) */
    FMP_TASK_MAP_MANY,  /* payload [x, ...]: [f(x), ...] */
    FMP_TASK_STAR_MANY, /* payload [x, ...]: [f(*x), ...] */
};

/* The message tag of a result. NO_ROOM: shared memory had no room for the result, nor for an exception that says so.
 */
enum fmp_result_kind { FMP_RESULT_VALUE, FMP_RESULT_ERROR, FMP_RESULT_CANCELLED, FMP_RESULT_NO_ROOM };

struct fmp_task_head {
    uint64_t job;         /* which job the task belongs to */
    uint64_t function;    /* offset of the function's block; 0: the payload is (function, payload) */
    uint32_t index;       /* which chunk of the job */
    uint32_t function_id; /* never used twice in a pool, so a worker may remember the function */
    uint32_t claim;       /* 1 + index into `claims`, or 0: cannot be cancelled */
    uint32_t worker;      /* in a result: 1 + the place of the worker that sends it */
};

/* A task that can be cancelled is claimed by one CAS, of the worker that starts it or of the parent that cancels it. */
enum fmp_claim { FMP_CLAIM_PENDING, FMP_CLAIM_RUNNING, FMP_CLAIM_CANCELLED };

enum fmp_worker_state { FMP_WORKER_IDLE, FMP_WORKER_BUSY };

struct fmp_worker_shm {
    FMP_ALIGNED _Atomic uint32_t state;
    _Atomic uint32_t id; /* the worker's identity in the region */
    uint64_t job;        /* written before `state` says busy */
    uint32_t index;
    _Atomic uint32_t pid; /* of one that the template has forked before its Python; the kernel writes it */
};

struct fmp_crew_shm {
    _Atomic uint8_t claims[FMP_CREW_DEPTH];
    FMP_ALIGNED _Atomic uint32_t is_closed; /* no worker that has not begun is needed any more */
    _Atomic uint32_t wanted;                /* how many workers are to be there, beyond the first */
    struct fmp_ec_shm wake;                 /* where the template sleeps that forks them */
    _Atomic uint32_t made;                  /* how many it has forked */
    struct fmp_ec_shm progress;             /* where the parent waits for one of them to be there */
    FMP_ALIGNED _Atomic uint32_t leavers;   /* workers that take no tasks any more, and are about to end */
    struct fmp_worker_shm workers[];
};

static_assert(sizeof(struct fmp_task_head) <= FMP_MESSAGE_HEAD_MAX, "the head fits a record");
static_assert(sizeof(struct fmp_worker_shm) == FMP_CACHELINE, "workers do not disturb each other");

#endif
