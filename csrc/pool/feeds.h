/* The work of a crew that waits, in order. Called by: feed.c, and crew.h's functions by py/crew.c, lost.c. */
#ifndef FMP_POOL_FEEDS_H
#define FMP_POOL_FEEDS_H

#include "pool/crew.h"

/* Work that waits: one prepared task, one that found no memory to be prepared in, or the rest of a map. */
struct fmp_feed {
    struct fmp_feed *next;
    struct fmp_job *job; /* a strong reference */
    enum fmp_task_kind kind;
    bool is_payload; /* `source` is the payload of one task */
    struct fmp_task_head head;
    PyObject *source;    /* list, tuple, range or iterator; NULL for a prepared task */
    Py_ssize_t position; /* of the next item */
    /* Only if `source` is NULL, and of it the FMP_MESSAGE_PREPARED_BYTES: the memory ends before it, and there. */
    struct fmp_message task;
};

/* A new one, not in the list; NULL with an exception set. `source` may be NULL: then there is room for a task. */
struct fmp_feed *fmp_feed_new(struct fmp_job *job, enum fmp_task_kind kind, const struct fmp_task_head *head,
                              PyObject *source);
/* May run Python code, as what it refers to may be freed. */
void fmp_feed_free(struct fmp_feed *feed);

void fmp_feeds_append(struct fmp_crew *crew, struct fmp_feed *feed);
/* -EAGAIN: it waits; -1 for a `feed` of NULL. */
int fmp_feeds_put_first(struct fmp_crew *crew, struct fmp_feed *feed);
/* Takes out what `link` leads to. */
struct fmp_feed *fmp_feeds_unlink(struct fmp_crew *crew, struct fmp_feed **link);
void fmp_feeds_drop_first(struct fmp_crew *crew);
/* The link to a task that was prepared in shared memory, or NULL. */
struct fmp_feed **fmp_feeds_find_prepared(struct fmp_crew *crew);

#endif
