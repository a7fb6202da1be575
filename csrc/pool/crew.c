/* The parent's half of a pool: jobs, pumping, waiting, lost tasks; see crew.h. */
#include "pool/crew.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "sys/clock.h"

/* How often a thread that waits for results looks whether a worker has ended, if the kernel does not wake it then: a
 * lost task is told well within 100 ms. */
#define LOOK_NS (40 * FMP_NS_PER_MS)
/* As if a sleep of this length had been in vain when an end was told: the process may need a moment for it. */
#define TOLD_NS (FMP_NS_PER_MS / 2)

/* ---- the job table: id = generation << 32 | place ---- */

static int
grow_jobs(struct fmp_crew *crew)
{
    uint32_t room = crew->job_room == 0 ? 64 : crew->job_room * 2;
    struct fmp_job **jobs = PyMem_Realloc(crew->jobs, room * sizeof *jobs);
    crew->jobs = jobs != NULL ? jobs : crew->jobs;
    uint32_t *generations = PyMem_Realloc(crew->job_generations, room * sizeof *generations);
    crew->job_generations = generations != NULL ? generations : crew->job_generations;
    uint32_t *places = PyMem_Realloc(crew->free_jobs, room * sizeof *places);
    crew->free_jobs = places != NULL ? places : crew->free_jobs;
    if (jobs == NULL || generations == NULL || places == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = room; i-- > crew->job_room;) {
        jobs[i] = NULL;
        generations[i] = 1;
        places[crew->free_count++] = i;
    }
    crew->job_room = room;
    return 0;
}

uint64_t
fmp_crew_add_job(struct fmp_crew *crew, struct fmp_job *job)
{
    if (crew->free_count == 0 && grow_jobs(crew) < 0) {
        return 0;
    }
    uint32_t place = crew->free_jobs[--crew->free_count];
    crew->jobs[place] = (struct fmp_job *)Py_NewRef((PyObject *)job);
    crew->job_count++;
    job->id = (uint64_t)crew->job_generations[place] << 32 | place;
    if (job->crew == NULL) {
        job->crew = (struct fmp_crew *)Py_NewRef((PyObject *)crew);
    }
    return job->id;
}

struct fmp_job *
fmp_crew_job(struct fmp_crew *crew, uint64_t id)
{
    uint32_t place = (uint32_t)id;
    if (place >= crew->job_room || crew->job_generations[place] != id >> 32) {
        return NULL;
    }
    return crew->jobs[place];
}

bool
fmp_crew_had_job(const struct fmp_crew *crew, uint64_t id)
{
    uint32_t place = (uint32_t)id;
    return place < crew->job_room && id >> 32 != 0 && id >> 32 < crew->job_generations[place];
}

void
fmp_crew_forget_job(struct fmp_crew *crew, uint64_t id)
{
    struct fmp_job *job = fmp_crew_job(crew, id);
    if (job == NULL) {
        return;
    }
    uint32_t place = (uint32_t)id;
    crew->jobs[place] = NULL;
    crew->job_generations[place]++;
    crew->free_jobs[crew->free_count++] = place;
    crew->job_count--;
    Py_CLEAR(job->function);
    Py_CLEAR(job->owner);
    Py_DECREF(job);
}

/* ---- pumping ---- */

#define DAMAGED "a damaged result was dropped: somebody has written over the pool's memory"

/* A result or an exception that cannot be unpickled is that task's error, and nobody else's, unless the owner wants to
 * know. */
static PyObject *
bad_result(struct fmp_crew *crew)
{
    PyObject *error = fmp_take_exception();
    if (crew->bad_result != NULL && crew->bad_result != Py_None) {
        PyObject *callable = Py_NewRef(crew->bad_result);
        PyObject *result = PyObject_CallOneArg(callable, error);
        if (result == NULL) {
            PyErr_WriteUnraisable(callable);
        }
        Py_DECREF(callable);
        Py_XDECREF(result);
    }
    return error;
}

/* The user's Ctrl-C came while something was unpickled here: no fault of what came. The exception, which is taken, or
 * NULL. */
static PyObject *
take_interrupt(void)
{
    return PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ? fmp_take_exception() : NULL;
}

/* Raises it, if there is one: -1, or 0. */
static int
raise_interrupt(PyObject *interrupt)
{
    if (interrupt == NULL) {
        return 0;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(interrupt), interrupt);
    Py_DECREF(interrupt);
    return -1;
}

/* 0, or -1 with KeyboardInterrupt set. */
static int
take_report(struct fmp_crew *crew, struct fmp_message *m)
{
    PyObject *value = fmp_message_decode(crew->results.space, m), *interrupt = NULL;
    if (value == NULL) {
        interrupt = take_interrupt();
        value = interrupt != NULL ? Py_NewRef(interrupt) : fmp_take_exception();
    }
    if (PyList_Append(crew->reports, value) < 0) {
        PyErr_WriteUnraisable((PyObject *)crew);
    }
    Py_DECREF(value);
    return raise_interrupt(interrupt);
}

/* A result was lost, and nobody can tell whose: no call may wait for it. The current exception is everybody's. */
static void
fail_all_damaged(struct fmp_crew *crew)
{
    PyObject *error = bad_result(crew);
    fmp_crew_fail_all(crew, error);
    Py_DECREF(error);
}

/* 0, or -1 with KeyboardInterrupt set. */
static int
take_result(struct fmp_crew *crew, struct fmp_message *m)
{
    struct fmp_task_head head;
    memcpy(&head, m->head, sizeof head);
    if (FMP_UNLIKELY(head.job == 0)) {
        return take_report(crew, m);
    }
    enum fmp_result_kind kind = m->tag;
    if (head.worker != 0 && head.worker <= crew->max_workers) {
        crew->answers[head.worker - 1] = (struct fmp_answer){.job = head.job, .index = head.index};
    }
    PyObject *value = fmp_message_decode(crew->results.space, m), *interrupt = NULL;
    fmp_crew_answered(crew);
    crew->answered++;
    if (FMP_UNLIKELY(kind == FMP_RESULT_NO_ROOM)) {
        kind = FMP_RESULT_ERROR;
        Py_XDECREF(value);
        fmp_py_raise(-ENOSPC, "no room for the result in fastmp's shared memory");
        value = fmp_take_exception();
    }
    if (value == NULL) {
        kind = FMP_RESULT_ERROR;
        interrupt = take_interrupt();
        value = interrupt != NULL ? Py_NewRef(interrupt) : bad_result(crew);
    }
    if (FMP_UNLIKELY(!fmp_crew_deliver(crew, &head, kind, value))) {
        fmp_py_raise(-EBADMSG, DAMAGED);
        fail_all_damaged(crew);
    }
    return raise_interrupt(interrupt);
}

/* So many results are taken in a row before what waits is sent. */
#define ROW 16

/* Whoever looks in vain, as one does who waits for a single result, has begun no row. */
static void
end_row(struct fmp_crew *crew, bool *is_begun)
{
    if (*is_begun) {
        fmp_ring_end_pop_row(&crew->results.ring);
        *is_begun = false;
    }
}

/* Sends what waits. A row of results ends before, as a caller's iterator may run now, for any time. */
static int
feed_between(struct fmp_crew *crew, bool *is_begun)
{
    end_row(crew, is_begun);
    return fmp_crew_feed(crew);
}

/* Takes up to `most` results in rows, sending what waits in between. The end of the last row is the caller's. */
static int
take_results(struct fmp_crew *crew, unsigned most, bool *is_begun)
{
    struct fmp_message m;
    for (unsigned n = 0; n < most; n++) {
        int rc = fmp_message_pop_in_row(&crew->results, &m);
        *is_begun |= rc != -EAGAIN;
        if (rc == 0) {
            if (FMP_UNLIKELY(take_result(crew, &m) < 0)) {
                return -1;
            }
        } else if (rc != -EAGAIN) {
            fmp_py_raise(rc, DAMAGED);
            fail_all_damaged(crew);
            fmp_py_raise(rc, DAMAGED);
            return -1;
        }
        if (crew->feeds != NULL && (rc != 0 || n % ROW == 0) && feed_between(crew, is_begun) < 0) {
            return -1;
        }
        if (rc != 0) {
            return 0;
        }
        if (n % 512 == 511 && PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
    return 0;
}

static int
pump(struct fmp_crew *crew, unsigned most)
{
    crew->pumps++;
    bool is_begun = false;
    int rc = take_results(crew, most, &is_begun);
    end_row(crew, &is_begun);
    return rc;
}

int
fmp_crew_pump(struct fmp_crew *crew)
{
    return pump(crew, UINT_MAX);
}

int
fmp_crew_pump_some(struct fmp_crew *crew)
{
    return pump(crew, FMP_CREW_DEPTH);
}

/* ---- waiting ---- */

struct look {
    struct fmp_crew *crew;
    struct fmp_job *job;
    uint64_t pokes; /* when the wait began */
    uint32_t told;  /* deaths */
};

/* Of a worker: one was killed, or is about to end. */
static bool
an_end_was_told(const struct look *look)
{
    return fmp_death_count(look->crew->results.ring.shm) != look->told ||
           fmp_load_relaxed(&look->crew->shm->leavers) != look->crew->leavers; /* relaxed: the kernel says who */
}

static bool
something_happened(void *ctx)
{
    struct look *look = ctx;
    return fmp_ring_may_pop(&look->crew->results.ring) || look->crew->pokes != look->pokes ||
           (look->job != NULL && look->job->done) || an_end_was_told(look);
}

static bool
is_held_up(void *ctx)
{
    struct look *look = ctx;
    return fmp_ring_pop_is_held_up(&look->crew->results.ring);
}

/* No child of ours, but of a fork server; or we have reaped it. */
static bool
stranger_has_ended(struct fmp_crew *crew, uint32_t place)
{
    uint32_t id = fmp_load_acquire(&crew->shm->workers[place].id); /* W2: pairs with W3 */
    if (id != 0) {
        return fmp_participant_fate(&crew->tasks.space->region, id) != FMP_ALIVE;
    }
    return kill(fmp_crew_pid(crew, place), 0) != 0 && errno == ESRCH; /* it has not begun */
}

/* A child; it is not reaped here. 1, 0, or -1: no child of ours. */
static int
child_has_ended(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ? -1 : info.si_pid != 0;
}

static bool
has_ended(struct fmp_crew *crew, uint32_t place)
{
    int ended = child_has_ended(fmp_crew_pid(crew, place));
    return ended < 0 ? stranger_has_ended(crew, place) : ended != 0;
}

/* Or who was to fork one has. */
static bool
a_worker_ended(struct fmp_crew *crew)
{
    bool is_whole = true;
    for (uint32_t i = 0; i < crew->max_workers; i++) {
        if (fmp_crew_pid(crew, i) == 0) {
            is_whole = false;
        } else if (has_ended(crew, i)) {
            return true;
        }
    }
    return !is_whole && crew->template_pid != 0 && child_has_ended(crew->template_pid) != 0;
}

static int
look_after_workers(struct fmp_crew *crew)
{
    if (crew->maintain == NULL || crew->maintain == Py_None || !a_worker_ended(crew)) {
        return 0;
    }
    PyObject *maintain = Py_NewRef(crew->maintain);
    PyObject *result = PyObject_CallNoArgs(maintain);
    Py_DECREF(maintain);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* One that has not begun may end as it likes, and one that is not there yet may never be. */
static bool
all_are_at_work(struct fmp_crew *crew)
{
    for (uint32_t i = 0; i < crew->max_workers; i++) {
        bool is_missing = fmp_crew_pid(crew, i) == 0;
        if (is_missing ? crew->template_pid != 0 : !fmp_crew_has_begun(crew, i)) {
            return false;
        }
    }
    return true;
}

/* One sleep; looks after the workers when it was in vain, or when the end of one was told. FMP_PY_READY, FMP_PY_TIMEOUT
 * (of the slice), FMP_PY_ERROR. */
static int
sleep_once(struct fmp_crew *crew, struct fmp_job *job, uint64_t deadline_ns, uint64_t pokes)
{
    struct fmp_ec_shm *items = &crew->results.ring.shm->items;
    struct look look = {.crew = crew, .job = job, .pokes = pokes, .told = fmp_death_count(items)};
    uint64_t now_ns = sys_now_ns(), vain_ns = crew->vain_ns != 0 && all_are_at_work(crew) ? crew->vain_ns : 0;
    uint64_t slice_ns = fmp_death_slice_ns(items, now_ns, vain_ns, LOOK_NS, LOOK_NS);
    crew->spin.held_up = is_held_up;
    crew->waiters++;
    int rc =
        fmp_py_await(items, something_happened, &look, sys_slice_end_ns(now_ns, deadline_ns, slice_ns), &crew->spin);
    crew->waiters--;
    bool is_told = rc == FMP_PY_READY && an_end_was_told(&look);
    bool is_to_look = is_told || rc == FMP_PY_TIMEOUT;
    crew->vain_ns = is_told ? TOLD_NS : is_to_look ? slice_ns : 0;
    if (is_told) {
        crew->leavers = fmp_load_relaxed(&crew->shm->leavers); /* relaxed: as above */
    }
    /* A signal that came while this thread was awake, or to another thread, has not ended the sleep. */
    if (is_to_look && (PyErr_CheckSignals() < 0 || look_after_workers(crew) < 0)) {
        return FMP_PY_ERROR;
    }
    return rc;
}

int
fmp_crew_wait(struct fmp_crew *crew, struct fmp_job *job, uint64_t deadline_ns)
{
    uint64_t at_start = crew->pokes;
    for (;;) {
        uint64_t pokes = crew->pokes;
        if (fmp_crew_pump_some(crew) < 0) {
            return FMP_PY_ERROR;
        }
        if (job != NULL ? job->done : crew->pokes != at_start) {
            return FMP_PY_READY;
        }
        if (FMP_UNLIKELY(fmp_py_is_too_long(deadline_ns))) {
            fmp_py_raise_too_long(deadline_ns);
            return FMP_PY_ERROR;
        }
        if (deadline_ns != FMP_NEVER && sys_now_ns() >= deadline_ns) {
            return FMP_PY_TIMEOUT;
        }
        if (sleep_once(crew, job, deadline_ns, pokes) == FMP_PY_ERROR) {
            return FMP_PY_ERROR;
        }
    }
}

bool
fmp_crew_has_begun(const struct fmp_crew *crew, unsigned place)
{
    return fmp_load_acquire(&crew->shm->workers[place].id) != 0; /* W2: pairs with W3 */
}

void
fmp_crew_poke(struct fmp_crew *crew)
{
    crew->pokes++;
    fmp_ec_notify(&crew->results.ring.shm->items, INT32_MAX);
}

int
fmp_crew_ask_for_helper(struct fmp_crew *crew)
{
    if (crew->need_helper == NULL || crew->need_helper == Py_None || crew->fork_generation != fmp_fork_generation) {
        return 0;
    }
    PyObject *result = PyObject_CallNoArgs(crew->need_helper);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}
