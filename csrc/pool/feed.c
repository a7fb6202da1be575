/*
 * Tasks to the workers: sent at once while fewer than FMP_CREW_DEPTH are on their way, otherwise kept here, in order,
 * until results make room. Called by: crew.c, lost.c, py/crew*.c.
 */
#include "pool/feeds.h"

#include <string.h>

/* A future's task gets a claim when it is sent, so that it can be cancelled as long as no worker has begun it. The
 * first ones, as many as there are workers and one more, count as running at once: the standard library's executor has
 * them in its call queue, and others rely on it. */
static void
take_claim(struct fmp_crew *crew, struct fmp_job *job, struct fmp_task_head *head)
{
    if (job->kind != FMP_JOB_FUTURE) {
        return;
    }
    job->begun = crew->in_flight <= crew->max_workers + 1 || crew->free_claim_count == 0;
    if (!job->begun) {
        head->claim = job->claim = crew->free_claims[--crew->free_claim_count];
        fmp_store_relaxed(&crew->shm->claims[head->claim - 1],
                          FMP_CLAIM_PENDING); /* relaxed: published with the task */
    }
}

/* The task that was to be sent was not. */
static void
give_back_claim(struct fmp_crew *crew, struct fmp_job *job, struct fmp_task_head *head)
{
    fmp_crew_answered(crew);
    if (job->kind == FMP_JOB_FUTURE) {
        job->begun = false;
    }
    if (head->claim != 0) {
        crew->free_claims[crew->free_claim_count++] = head->claim;
        head->claim = job->claim = 0;
    }
}

/* The exception that is set becomes the result of this task. */
static void
fail(struct fmp_crew *crew, const struct fmp_task_head *head)
{
    (void)fmp_crew_deliver(crew, head, FMP_RESULT_ERROR, fmp_take_exception());
}

/* An encoded task as a feed: NULL with an exception. */
static struct fmp_feed *
feed_encoded(struct fmp_crew *crew, struct fmp_job *job, enum fmp_task_kind kind, const struct fmp_task_head *head,
             struct fmp_wire_writer *w)
{
    struct fmp_message m;
    if (fmp_message_prepare(crew->tasks.space, &m, kind, w) != 0) {
        return NULL;
    }
    struct fmp_feed *feed = fmp_feed_new(job, kind, head, NULL);
    if (feed == NULL) {
        fmp_message_discard(crew->tasks.space, &m);
        return NULL;
    }
    memcpy(&feed->task, &m, FMP_MESSAGE_PREPARED_BYTES);
    return feed;
}

/* What a task is to be called with: one object, or those of the caller's list or tuple from `start` to `end`. They are
 * made one object only if somebody asks for it. */
struct load {
    PyObject *whole; /* NULL: not asked for yet */
    PyObject *source;
    Py_ssize_t start, end;
};

static int
raise_changed(void)
{
    PyErr_SetString(PyExc_RuntimeError, "the list given to map changed its size");
    return -1;
}

/* Borrowed, or NULL with an exception. */
static PyObject *
as_whole(struct load *load)
{
    if (load->whole == NULL) {
        load->whole = PySequence_GetSlice(load->source, load->start, load->end);
        if (load->whole != NULL && PySequence_Fast_GET_SIZE(load->whole) != load->end - load->start) {
            Py_CLEAR(load->whole);
            raise_changed();
        }
    }
    return load->whole;
}

/* A task for which shared memory has no room now, as a feed: it is pickled again when it is its turn. NULL with an
 * exception. */
static struct fmp_feed *
feed_load(struct fmp_job *job, enum fmp_task_kind kind, const struct fmp_task_head *head, struct load *load)
{
    PyObject *payload = as_whole(load);
    struct fmp_feed *feed = payload != NULL ? fmp_feed_new(job, kind, head, payload) : NULL;
    if (feed != NULL) {
        feed->is_payload = true;
    }
    return feed;
}

/* Has a task failed only because the tasks and results that are under way, or wait, fill the memory? Then it can wait
 * for them, and the exception is cleared. */
static bool
can_wait_for_memory(struct fmp_crew *crew)
{
    return (crew->in_flight > 0 || fmp_feeds_find_prepared(crew) != NULL) && fmp_py_clear_no_space();
}

/* A task that found no room is the next to be sent: -EAGAIN, or -1 with an exception. */
static int
keep_first(struct fmp_crew *crew, struct fmp_job *job, enum fmp_task_kind kind, const struct fmp_task_head *head,
           struct fmp_wire_writer *w, struct load *load)
{
    struct fmp_feed *feed = feed_encoded(crew, job, kind, head, w);
    if (feed == NULL && can_wait_for_memory(crew)) {
        feed = feed_load(job, kind, head, load);
    }
    return fmp_feeds_put_first(crew, feed);
}

static int
encode(struct fmp_crew *crew, struct fmp_wire_writer *w, const struct fmp_job *job, struct load *load)
{
    if (load->whole == NULL && !job->is_carried) {
        PyObject *const *items = PySequence_Fast_ITEMS(load->source);
        int rc = fmp_wire_encode_items(w, items + load->start, (size_t)(load->end - load->start));
        if (FMP_LIKELY(rc != FMP_WIRE_NOT_PLAIN)) {
            return rc;
        }
    }
    PyObject *payload = as_whole(load);
    if (payload == NULL) {
        return -1;
    }
    PyObject *message = fmp_job_payload(job, payload);
    int rc = message != NULL ? fmp_crew_encode(crew, w, message) : -1;
    Py_XDECREF(message);
    return rc;
}

/* Sends one task: 0; -1 if it could not be pickled or sent, and then the job has been told; -EAGAIN if it is kept,
 * because there is no room. That may be although few tasks are on their way: a worker that is stopped just when it has
 * taken a task holds its cell, and the others may go once round the ring meanwhile. Its result, or its end, makes
 * room. Or the memory is full: what is under way will leave it. */
static int
send_task(struct fmp_crew *crew, struct fmp_job *job, enum fmp_task_kind kind, struct fmp_task_head *head,
          struct load *load)
{
    struct fmp_wire_writer *w = fmp_crew_writer(crew);
    crew->in_flight++;
    int rc = w != NULL ? encode(crew, w, job, load) : -1;
    if (rc == 0) {
        take_claim(crew, job, head);
        rc = fmp_message_send(&crew->tasks, kind, head, w);
        fmp_crew_wake_dormant(crew);
    }
    if (rc != 0) {
        give_back_claim(crew, job, head);
    }
    if (rc == -EAGAIN) {
        rc = keep_first(crew, job, kind, head, w, load);
    } else if (FMP_UNLIKELY(rc != 0) && can_wait_for_memory(crew)) {
        rc = fmp_feeds_put_first(crew, feed_load(job, kind, head, load));
    }
    if (w != NULL) {
        fmp_wire_writer_free(w);
    }
    if (rc != 0 && rc != -EAGAIN) {
        fail(crew, head);
    }
    return rc;
}

/* Keeps one task, pickled now if there is memory for it, for later. */
static int
keep_task(struct fmp_crew *crew, struct fmp_job *job, enum fmp_task_kind kind, const struct fmp_task_head *head,
          struct load *load)
{
    struct fmp_wire_writer *w = fmp_crew_writer(crew);
    if (w == NULL) {
        return -1;
    }
    struct fmp_feed *feed = encode(crew, w, job, load) == 0 ? feed_encoded(crew, job, kind, head, w) : NULL;
    fmp_wire_writer_free(w);
    if (feed == NULL && can_wait_for_memory(crew)) {
        feed = feed_load(job, kind, head, load);
    }
    if (feed == NULL) {
        fail(crew, head);
    } else {
        fmp_feeds_append(crew, feed);
    }
    return 0;
}

static int
begin_job(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, struct fmp_task_head *head)
{
    *head = (struct fmp_task_head){.job = fmp_crew_add_job(crew, job)};
    if (head->job == 0) {
        return -1;
    }
    return fmp_crew_function(crew, job, callable, head) < 0 ? 1 : 0; /* 1: the exception is for the job */
}

int
fmp_crew_submit(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, PyObject *args, PyObject *kwargs)
{
    struct fmp_task_head head;
    int rc = begin_job(crew, job, callable, &head);
    if (rc != 0) {
        if (rc > 0) {
            fail(crew, &head);
        }
        return rc > 0 ? 0 : -1;
    }
    bool has_kwargs = kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0;
    PyObject *payload = has_kwargs ? PyTuple_Pack(2, args, kwargs) : Py_NewRef(args);
    if (payload == NULL) {
        return -1;
    }
    enum fmp_task_kind kind = has_kwargs ? FMP_TASK_CALL_KW : FMP_TASK_CALL;
    if (crew->in_flight >= FMP_CREW_DEPTH && fmp_crew_pump(crew) < 0) { /* results that are there make room */
        Py_DECREF(payload);
        return -1;
    }
    struct load load = {.whole = payload};
    if (crew->feeds == NULL && crew->in_flight < FMP_CREW_DEPTH) {
        (void)send_task(crew, job, kind, &head, &load); /* kept, or the job has been told of a failure */
        rc = 0;
    } else {
        rc = keep_task(crew, job, kind, &head, &load);
    }
    Py_DECREF(payload);
    return rc;
}

int
fmp_crew_map(struct fmp_crew *crew, struct fmp_job *job, PyObject *callable, PyObject *source, enum fmp_task_kind kind)
{
    struct fmp_task_head head;
    int rc = begin_job(crew, job, callable, &head);
    if (rc < 0) {
        return -1;
    }
    if (rc > 0) {
        PyObject *error = fmp_take_exception();
        job->length = job->kind == FMP_JOB_STREAM ? 1 : job->chunksize; /* one error stands for all */
        job->arrived = 0;
        (void)fmp_crew_deliver(crew, &head, FMP_RESULT_ERROR, error);
        return 0;
    }
    struct fmp_feed *feed = fmp_feed_new(job, kind, &head, source);
    if (feed == NULL) {
        return -1;
    }
    fmp_feeds_append(crew, feed);
    return fmp_crew_feed(crew);
}

/* ---- feeding ---- */

/* A future cancelled before its task was sent is told now. */
static bool
was_cancelled(struct fmp_crew *crew, struct fmp_feed *feed)
{
    if (feed->job->kind != FMP_JOB_FUTURE || !feed->job->done) {
        return false;
    }
    if (feed->source == NULL) {
        fmp_message_discard(crew->tasks.space, &feed->task);
    }
    (void)fmp_crew_deliver(crew, &feed->head, FMP_RESULT_CANCELLED, Py_NewRef(Py_None));
    return true;
}

/* 0, also if it failed and the job has been told, or -EAGAIN. */
static int
push_prepared(struct fmp_crew *crew, struct fmp_feed *feed)
{
    crew->in_flight++;
    take_claim(crew, feed->job, &feed->head);
    memcpy(feed->task.head, &feed->head, sizeof feed->head);
    int rc = fmp_message_push(&crew->tasks, &feed->task);
    fmp_crew_wake_dormant(crew);
    if (rc == 0) {
        return 0;
    }
    give_back_claim(crew, feed->job, &feed->head);
    if (rc != -EAGAIN) {
        fmp_message_discard(crew->tasks.space, &feed->task);
        fmp_py_raise(rc, NULL);
        fail(crew, &feed->head);
        rc = 0;
    }
    return rc;
}

/* As those below: false if there is no room, and the task waits. It is taken out before a job is told of anything: that
 * may run Python code, and another thread that feeds. */
static bool
feed_prepared(struct fmp_crew *crew)
{
    struct fmp_feed *feed = fmp_feeds_unlink(crew, &crew->feeds);
    int rc = was_cancelled(crew, feed) ? 0 : push_prepared(crew, feed);
    if (rc == -EAGAIN) {
        (void)fmp_feeds_put_first(crew, feed);
        return false;
    }
    fmp_feed_free(feed);
    return true;
}

/* A task that waited for memory. */
static bool
feed_kept(struct fmp_crew *crew)
{
    struct fmp_feed *feed = fmp_feeds_unlink(crew, &crew->feeds);
    struct load load = {.whole = feed->source};
    bool room = was_cancelled(crew, feed) || send_task(crew, feed->job, feed->kind, &feed->head, &load) != -EAGAIN;
    fmp_feed_free(feed);
    return room;
}

/* The numbers of a range are made when it is their turn, while workers are at those before them. */
static PyObject *
numbers(PyObject *range, Py_ssize_t start, Py_ssize_t end)
{
    PyObject *part = PySequence_GetSlice(range, start, end);
    PyObject *list = part != NULL ? PySequence_List(part) : NULL;
    Py_XDECREF(part);
    return list;
}

/* The items from `start` on that are a task, of a range, or of a list or tuple that the caller may have changed: 0, or
 * -1 with an exception. The load is the caller's to release. */
static int
load_chunk(struct load *load, const struct fmp_job *job, Py_ssize_t start)
{
    Py_ssize_t end = start + job->chunksize;
    load->start = start;
    load->end = end < job->length ? end : job->length;
    if (load->end > fmp_crew_map_length(load->source)) {
        return raise_changed();
    }
    if (job->chunksize == 1) {
        load->whole = PySequence_GetItem(load->source, start);
    } else if (PyRange_Check(load->source)) {
        load->whole = numbers(load->source, start, load->end);
    } else {
        return 0;
    }
    return load->whole != NULL ? 0 : -1;
}

static void
release(struct load *load)
{
    Py_XDECREF(load->whole);
    Py_XDECREF(load->source);
}

/* The next chunk of a list, tuple or range. The position moves, and the last chunk's feed goes, before Python code can
 * run: it may feed what follows. From then on the feed is not looked at. */
static bool
feed_chunk(struct fmp_crew *crew, struct fmp_feed *feed)
{
    Py_ssize_t start = feed->position;
    struct fmp_task_head head = feed->head;
    struct fmp_job *job = (struct fmp_job *)Py_NewRef((PyObject *)feed->job);
    struct load load = {.source = Py_NewRef(feed->source)};
    enum fmp_task_kind kind = feed->kind;
    head.index = (uint32_t)(start / job->chunksize);
    feed->position = start + job->chunksize;
    if (feed->position >= job->length) {
        fmp_feeds_drop_first(crew);
    }
    bool is_there = load_chunk(&load, job, start) == 0, room = true;
    if (is_there) {
        room = send_task(crew, job, kind, &head, &load) != -EAGAIN;
    } else {
        fail(crew, &head);
    }
    release(&load);
    Py_DECREF(job);
    return room;
}

/* The input of a stream has ended: the number of results is known. */
static void
end_stream(struct fmp_crew *crew, struct fmp_job *job, Py_ssize_t length)
{
    job->length = length;
    if (job->arrived >= length && !job->done) {
        job->done = true;
        fmp_crew_forget_job(crew, job->id);
    }
    fmp_crew_poke(crew);
}

/* The next item of an iterator, which may run any Python code; an exception of the iterator is the stream's last
 * result. */
static bool
feed_item(struct fmp_crew *crew, struct fmp_feed *feed)
{
    struct fmp_task_head head = feed->head;
    struct fmp_job *job = (struct fmp_job *)Py_NewRef((PyObject *)feed->job);
    PyObject *source = Py_NewRef(feed->source);
    enum fmp_task_kind kind = feed->kind;
    head.index = (uint32_t)feed->position++;
    PyObject *item = PyIter_Next(source);
    bool room = true;
    if (item != NULL) {
        struct load load = {.whole = item};
        room = send_task(crew, job, kind, &head, &load) != -EAGAIN;
        Py_DECREF(item);
    } else if (crew->feeds == feed) {
        bool failed = PyErr_Occurred() != NULL;
        fmp_feeds_drop_first(crew);
        end_stream(crew, job, (Py_ssize_t)head.index + failed);
        if (failed) {
            fail(crew, &head);
        }
    }
    Py_DECREF(source);
    Py_DECREF(job);
    return room;
}

/* Nothing is under way, and the first task finds no memory: one that was prepared behind it holds some, and goes first.
 * False if there is none. */
static bool
bring_prepared_forward(struct fmp_crew *crew)
{
    bool is_short = crew->in_flight == 0 && crew->feeds != NULL && crew->feeds->is_payload;
    struct fmp_feed **link = is_short ? fmp_feeds_find_prepared(crew) : NULL;
    if (link == NULL) {
        return false;
    }
    (void)fmp_feeds_put_first(crew, fmp_feeds_unlink(crew, link));
    return true;
}

static bool
feed_first(struct fmp_crew *crew)
{
    struct fmp_feed *feed = crew->feeds;
    if (feed->source == NULL) {
        return feed_prepared(crew);
    }
    if (feed->is_payload) {
        return feed_kept(crew);
    }
    return feed->job->kind == FMP_JOB_STREAM ? feed_item(crew, feed) : feed_chunk(crew, feed);
}

int
fmp_crew_feed(struct fmp_crew *crew)
{
    while (crew->feeds != NULL && crew->in_flight < FMP_CREW_DEPTH) {
        if (!feed_first(crew) && !bring_prepared_forward(crew)) {
            break;
        }
    }
    return 0;
}

int
fmp_crew_send_exit(struct fmp_crew *crew)
{
    struct fmp_task_head head = {0};
    struct fmp_message m = {.tag = FMP_TASK_EXIT};
    memcpy(m.head, &head, sizeof head);
    int rc = fmp_message_push(&crew->tasks, &m);
    if (rc != 0) {
        fmp_py_raise(rc, NULL);
        return -1;
    }
    return 0;
}
