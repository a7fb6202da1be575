/*
 * The parent's half of a pool: sends tasks, takes results, knows the workers. The struct behind fastmp._core.Crew.
 * Called by: py/crew*.c, py/job.c, py/future.c.
 *
 * No thread: whoever waits for a result pumps, that is takes what results there are, whosesoever they are, and sends
 * tasks that had to wait. A helper thread of Python pumps when nobody waits and something must go on (callbacks, more
 * tasks than fit); fastmp/pool.py starts it when `need_helper` is called. Everything here needs the GIL, which also
 * guards the struct.
 */
#ifndef FMP_POOL_CREW_H
#define FMP_POOL_CREW_H

#include "pool/job.h"
#include "pool/layout.h"
#include "pyrt/wait.h"

struct fmp_feed;

/* Which task a result was of. */
struct fmp_answer {
    uint64_t job;
    uint32_t index;
};

struct fmp_crew {
    PyObject_HEAD
    struct fmp_handle tasks_handle, results_handle, shm_handle;
    struct fmp_channel tasks, results;
    struct fmp_crew_shm *shm;
    unsigned fork_generation; /* a forked copy is not the parent */
    uint32_t max_workers;
    uint32_t asleep;            /* workers that are not there yet, and that nobody has asked for */
    pid_t *pids;                /* of the workers by place, 0: none that this process has been told of */
    pid_t template_pid;         /* who forks them; 0: nobody; -1: it has ended */
    struct fmp_answer *answers; /* the last one of each worker, by place */

    struct fmp_job **jobs; /* by the low 32 bits of the id; strong references */
    uint32_t *job_generations, *free_jobs;
    uint32_t job_room, free_count, job_count;
    uint64_t submitted; /* futures, ever */
    uint64_t answered;  /* results taken, ever */

    PyObject *functions; /* {callable: Function} of those that pickle by reference, and of what by_value returned */
    PyObject *last_callable, *last_function;
    uint32_t next_function_id;

    struct fmp_feed *feeds, **feeds_end; /* tasks that wait for room, in order */
    uint32_t in_flight;                  /* sent, and the result not yet taken */
    uint16_t *free_claims;
    uint32_t free_claim_count;

    PyObject *maintain;    /* callable or NULL: a worker has ended, see to it */
    PyObject *need_helper; /* callable or NULL: somebody must pump while nobody waits */
    PyObject *bad_result; /* callable or NULL: a result could not be unpickled; set, it also makes workers end at a task
                             that cannot */
    PyObject *by_value;   /* knows what goes by value, see function.c; NULL or None: nothing does */
    PyObject *reports;    /* list of what workers that could not begin have said */
    PyObject *deferred;   /* list of done jobs whose callbacks the helper is to run */
    struct fmp_spin spin;
    uint64_t vain_ns; /* the length of the last sleep, 0 if something has come */
    uint32_t leavers; /* known of */
    uint32_t waiters; /* threads of this process that wait for results */
    uint64_t pumps;   /* how often results were taken: the helper leaves it to others who do */
    uint64_t pokes;   /* counts what those who wait should look at */
    PyObject *weakrefs;
};

extern PyTypeObject *fmp_crew_type;

/* crew.c */
/* Registers a job: its id. 0 with MemoryError. The crew holds it until it is done. */
uint64_t fmp_crew_add_job(struct fmp_crew *crew, struct fmp_job *job);
/* The job of this id, borrowed, or NULL if it is done or never was. */
struct fmp_job *fmp_crew_job(struct fmp_crew *crew, uint64_t id);
/* Was there a job of this id, which is done? */
bool fmp_crew_had_job(const struct fmp_crew *crew, uint64_t id);
void fmp_crew_forget_job(struct fmp_crew *crew, uint64_t id);
/* Takes all results there are and sends what waits. 0, or -1 with an exception set (of a task iterator, a signal). */
int fmp_crew_pump(struct fmp_crew *crew);
/* The same, but no more than the rings hold at once: workers that keep up must not keep a waiter from what is there. */
int fmp_crew_pump_some(struct fmp_crew *crew);
/* Waits until the job is done (NULL: until anything happens), pumping. FMP_PY_READY, _TIMEOUT, _ERROR. */
int fmp_crew_wait(struct fmp_crew *crew, struct fmp_job *job, uint64_t deadline_ns);
/* A task that was sent has been answered, or never will be. (After fail_all answers may still come that nobody counts.)
 */
FMP_INLINE void
fmp_crew_answered(struct fmp_crew *crew)
{
    crew->in_flight -= crew->in_flight != 0;
}
/* Has the worker at `place` begun to take tasks? */
bool fmp_crew_has_begun(const struct fmp_crew *crew, unsigned place);
/* Makes every thread that waits look again. */
void fmp_crew_poke(struct fmp_crew *crew);
int fmp_crew_ask_for_helper(struct fmp_crew *crew);

/* function.c: a callable that was sent. */
struct fmp_function {
    PyObject_HEAD
    struct fmp_handle handle;
    uint32_t id;
};
extern PyTypeObject *fmp_function_type;
/* Sends the callable of a job, and names it in the head of the job's tasks. 0, or -1 with what pickle raised. */
int fmp_crew_function(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, struct fmp_task_head *head);
/* A writer for tasks, which asks by_value about functions and classes. NULL with MemoryError. */
struct fmp_wire_writer *fmp_crew_writer(struct fmp_crew *crew);
/* Encodes arguments or a result; what pickle refuses goes by value, if by_value knows how. 0, or -1 with what pickle
 * raised. */
int fmp_crew_encode(struct fmp_crew *crew, struct fmp_wire_writer *w, PyObject *obj);
/* What a task of this job is to say: the payload, or (callable, payload). A new reference. */
PyObject *fmp_job_payload(const struct fmp_job *job, PyObject *payload);
/* The worker's side: decodes the function in the block at `off`. */
PyObject *fmp_function_load(struct fmp_space *space, fmp_off off);

/* feed.c */
/* One task: args (a tuple) and kwargs (a dict or NULL). What cannot be pickled becomes the job's error. 0, or -1 with
 * an exception set. */
int fmp_crew_submit(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, PyObject *args, PyObject *kwargs);
/* How many items there are in the list, tuple or range `source` of a map: -1, with no exception, if it is none. */
FMP_INLINE Py_ssize_t
fmp_crew_map_length(PyObject *source)
{
    if (PyList_Check(source) || PyTuple_Check(source)) {
        return PySequence_Fast_GET_SIZE(source);
    }
    Py_ssize_t length = PyRange_Check(source) ? PyObject_Size(source) : -1;
    if (length < 0) {
        PyErr_Clear();
    }
    return length;
}
/* Tasks for the items of `source` (a list, tuple or range with chunksize, or an iterator with kind MAP or STAR). */
int fmp_crew_map(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, PyObject *source,
                 enum fmp_task_kind kind);
int fmp_crew_feed(struct fmp_crew *crew);
/* One exit token: 0, -1 with an exception. */
int fmp_crew_send_exit(struct fmp_crew *crew);

/* feeds.c. Drops what waits; the jobs are not told. */
void fmp_crew_drop_feeds(struct fmp_crew *crew);
/* How many calls have tasks that wait. */
Py_ssize_t fmp_crew_count_feeds(const struct fmp_crew *crew);
/* For the garbage collector: what waits keeps its job, and that its pool. */
int fmp_crew_traverse_feeds(struct fmp_crew *crew, visitproc visit, void *arg);

/* lost.c: what a worker that has ended had in hand. */
/* Takes its published results, recovers its cells, and fails what it had in hand with make_error(job, index); returns
 * how many tasks were lost, -1 with an exception. */
Py_ssize_t fmp_crew_bury_worker(struct fmp_crew *crew, uint32_t place, PyObject *make_error);
/* Fails every job with `error` and drops what waits. */
void fmp_crew_fail_all(struct fmp_crew *crew, PyObject *error);

/* deliver.c: a result (value stolen) for one chunk of a job. False if there can be no such result: it is damaged, and
 * another one will never come. */
bool fmp_crew_deliver(struct fmp_crew *crew, const struct fmp_task_head *head, enum fmp_result_kind kind,
                      PyObject *value);

/* The pid of the worker at `place`, 0 if there is none, or none yet. */
FMP_INLINE pid_t
fmp_crew_pid(const struct fmp_crew *crew, uint32_t place)
{
    /* W6: the kernel writes it before that process runs */
    return crew->pids[place] != 0 ? crew->pids[place] : (pid_t)fmp_load_acquire(&crew->shm->workers[place].pid);
}

/* dormant.c: workers that are not there before there is work for them. In the first worker and in the template,
 * children of `parent`, without Python: as what it begins (struct fmp_dormant). */
struct fmp_dormant_child {
    struct fmp_crew *crew;
    pid_t parent;         /* whose main thread has forked it */
    uint64_t patience_ns; /* after so long all workers are to be there */
};
int fmp_crew_first_wakes(void *dormant_child);
/* Sleeps, and forks the others, each when there is work for it, and after a while all that are left. The place of a
 * worker, in that one; 0: all are there; below 0: the crew is closed, the parent has ended, or there can be no more. */
int fmp_crew_fork_workers(const struct fmp_dormant_child *me);
/* In the parent, before these are forked. */
void fmp_crew_expect_workers(struct fmp_crew *crew);
/* In the parent, while any is `asleep`: one more is to be there. The other, when it has sent a task: if there are more
 * tasks to be answered than workers. */
void fmp_crew_wake_dormant_slow(struct fmp_crew *crew);
FMP_INLINE void
fmp_crew_wake_dormant(struct fmp_crew *crew)
{
    if (FMP_UNLIKELY(crew->asleep != 0) && crew->in_flight + crew->asleep > crew->max_workers) {
        fmp_crew_wake_dormant_slow(crew);
    }
}
/* In the parent: no worker will be needed any more but those that are there, which wait for an exit token. Who has no
 * pid when this returns never begins. */
void fmp_crew_close(struct fmp_crew *crew);

/* worker.c: tells the parent, outside any task, why this worker cannot begin. 0, -1 with an exception. */
int fmp_worker_report(struct fmp_crew *crew, uint32_t place, PyObject *value);
/* Runs tasks until an exit token or `max_tasks` (0: no bound). The number run, or -1 with an exception set.
 */
Py_ssize_t fmp_worker_run(struct fmp_crew *crew, uint32_t place, Py_ssize_t max_tasks, PyObject *wrap_error,
                          PyObject *wrap_unpicklable, int parent);

#endif
