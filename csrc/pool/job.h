/*
 * A job: what one call of map, apply_async or submit waits for. The struct behind fastmp._core.Job and Future. Called
 * by: deliver.c, feed.c, py/job.c, py/future.c.
 */
#ifndef FMP_POOL_JOB_H
#define FMP_POOL_JOB_H

#include <Python.h>

#include "base/attr.h"

enum fmp_job_kind {
    FMP_JOB_VALUE,  /* one task, one value */
    FMP_JOB_MAP,    /* chunks into one list, in order */
    FMP_JOB_STREAM, /* results handed out one by one, as they come or in order */
    FMP_JOB_FUTURE, /* as VALUE, and told to the future's Python side */
};

struct fmp_crew;

struct fmp_job {
    PyObject_HEAD
    struct fmp_crew *crew; /* a strong reference, NULL once nothing more is to come */
    uint64_t id;           /* in the crew's table */
    uint8_t kind;
    bool done, success;
    bool deferred;   /* has callbacks: the crew's helper thread finishes it in Python */
    bool begun;      /* FUTURE: cannot be cancelled any more, though no worker may be at it yet */
    bool ordered;    /* STREAM: in order */
    bool is_carried; /* the callable goes with each task */
    uint32_t claim;  /* FUTURE: as in the task head, while the task is on its way */
    Py_ssize_t chunksize;
    Py_ssize_t length;  /* results in all; STREAM: -1 until the input has ended */
    Py_ssize_t arrived; /* results in so far; MAP counts chunks */
    Py_ssize_t next;    /* STREAM: the next to hand out */
    PyObject *value;    /* result or exception; MAP: the list; STREAM: {index: (success, value)} */
    PyObject *function; /* keeps the function's block while tasks name it; or the callable itself, see is_carried */
    PyObject *owner;    /* the pool, kept while results are to come */
    PyObject *weakrefs;
};

/* py/future.c: a FUTURE has its value or exception (success as in the job): the waiting and the callbacks are told. */
void fmp_future_finish(struct fmp_job *job);
void fmp_future_cancelled(struct fmp_job *job);

#endif
