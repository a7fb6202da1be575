/* A copy for another process; see fill.h. */
#include "wire/fill.h"

#include "sys/clock.h"

/* One copy in so many is timed. */
#define TIME_EVERY 8
/* Between two that go the other way. While memcpy is the cheaper ever more: its own time tells when that changes, and a
 * reader who is near waits for what went past the caches. */
#define TRY_LEAST 64u
#define TRY_MOST 4096u
/* Past the caches if memcpy takes so many times as long, in halves: its lines are of use to a reader who is near. */
#define WORTH_HALVES 5

enum way { IN_CACHES, PAST_CACHES };

/* Guarded by the GIL. What a MiB takes in ns, either way: the least of late, as a copy may be interrupted. */
static uint64_t costs[2];
static enum way cheaper;
static unsigned copies, until_try = TRY_LEAST, tries_apart = TRY_LEAST;

static void
copy_by(enum way way, void *to, const void *from, size_t bytes)
{
    if (way == PAST_CACHES) {
        fmp_copy_past_caches(to, from, bytes);
    } else {
        memcpy(to, from, bytes);
    }
}

static void
note(enum way way, uint64_t cost)
{
    uint64_t raised = costs[way] + costs[way] / 8 + 1;
    costs[way] = costs[way] == 0 || cost < raised ? cost : raised;
    cheaper =
        costs[PAST_CACHES] != 0 && costs[PAST_CACHES] * WORTH_HALVES < costs[IN_CACHES] * 2 ? PAST_CACHES : IN_CACHES;
}

/* Is it time to see what the other way takes? */
static bool
is_try(void)
{
    if (--until_try != 0) {
        return false;
    }
    tries_apart = cheaper == PAST_CACHES ? TRY_LEAST : tries_apart < TRY_MOST ? 2 * tries_apart : TRY_MOST;
    until_try = tries_apart;
    return true;
}

static void
copy_by_cheaper(void *to, const void *from, size_t bytes)
{
    bool tries = is_try();
    enum way way = tries ? !cheaper : cheaper;
    if (!tries && copies++ % TIME_EVERY != 0) {
        copy_by(way, to, from, bytes);
        return;
    }
    uint64_t begun = sys_now_ns();
    copy_by(way, to, from, bytes);
    note(way, ((sys_now_ns() - begun) << 20) / bytes);
}

void
fmp_wire_fill_many(void *to, const void *from, size_t bytes)
{
    if (bytes >= FMP_COPY_PAST_MIN) {
        fmp_copy_past_caches(to, from, bytes);
    } else {
        copy_by_cheaper(to, from, bytes);
    }
}
