/* The work that waits, as a list; see feeds.h. */
#include "pool/feeds.h"

struct fmp_feed *
fmp_feed_new(struct fmp_job *job, enum fmp_task_kind kind, const struct fmp_task_head *head, PyObject *source)
{
    size_t size = offsetof(struct fmp_feed, task) + (source != NULL ? 0 : FMP_MESSAGE_PREPARED_BYTES);
    struct fmp_feed *feed = PyMem_Malloc(size);
    if (feed == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    feed->next = NULL;
    feed->job = (struct fmp_job *)Py_NewRef((PyObject *)job);
    feed->kind = kind;
    feed->is_payload = false;
    feed->head = *head;
    feed->source = Py_XNewRef(source);
    feed->position = 0;
    return feed;
}

void
fmp_feed_free(struct fmp_feed *feed)
{
    Py_DECREF(feed->job);
    Py_XDECREF(feed->source);
    PyMem_Free(feed);
}

void
fmp_feeds_append(struct fmp_crew *crew, struct fmp_feed *feed)
{
    *crew->feeds_end = feed;
    crew->feeds_end = &feed->next;
}

struct fmp_feed *
fmp_feeds_unlink(struct fmp_crew *crew, struct fmp_feed **link)
{
    struct fmp_feed *feed = *link;
    *link = feed->next;
    if (feed->next == NULL) {
        crew->feeds_end = link;
    }
    return feed;
}

void
fmp_feeds_drop_first(struct fmp_crew *crew)
{
    fmp_feed_free(fmp_feeds_unlink(crew, &crew->feeds));
}

void
fmp_crew_drop_feeds(struct fmp_crew *crew)
{
    while (crew->feeds != NULL) {
        if (crew->feeds->source == NULL) {
            fmp_message_discard(crew->tasks.space, &crew->feeds->task);
        }
        fmp_feeds_drop_first(crew);
    }
}

Py_ssize_t
fmp_crew_count_feeds(const struct fmp_crew *crew)
{
    Py_ssize_t count = 0;
    for (const struct fmp_feed *feed = crew->feeds; feed != NULL; feed = feed->next) {
        count++;
    }
    return count;
}

int
fmp_crew_traverse_feeds(struct fmp_crew *crew, visitproc visit, void *arg)
{
    for (struct fmp_feed *feed = crew->feeds; feed != NULL; feed = feed->next) {
        Py_VISIT(feed->job);
        Py_VISIT(feed->source);
    }
    return 0;
}

int
fmp_feeds_put_first(struct fmp_crew *crew, struct fmp_feed *feed)
{
    if (feed == NULL) {
        return -1;
    }
    feed->next = crew->feeds;
    if (crew->feeds == NULL) {
        crew->feeds_end = &feed->next;
    }
    crew->feeds = feed;
    return -EAGAIN;
}

struct fmp_feed **
fmp_feeds_find_prepared(struct fmp_crew *crew)
{
    struct fmp_feed **link = &crew->feeds;
    while (*link != NULL && ((*link)->source != NULL || (*link)->task.block == 0)) {
        link = &(*link)->next;
    }
    return *link != NULL ? link : NULL;
}
