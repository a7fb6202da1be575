/* A sender's lead; see lead.h. */
#include "conn/lead.h"

#include <sched.h>

#include "sys/clock.h"

/* How long to look whether the receivers get on: a start, and as long as they would take for one such message with none
 * of it in a cache, several times over. */
#define MOMENT_NS (50 * UINT64_C(1000))
#define MOMENT_BYTES_PER_NS 4
/* It ends in any case before a signal, or the end of a timeout, has waited for long. */
#define MOMENT_MOST_NS (20 * FMP_NS_PER_MS)
/* Between two looks at receivers that take much longer than that for a message. */
#define NAP_NS (50 * UINT64_C(1000))

static uint64_t
moment_ns(uint64_t bytes)
{
    uint64_t ns = MOMENT_NS + bytes / MOMENT_BYTES_PER_NS;
    return ns < MOMENT_MOST_NS ? ns : MOMENT_MOST_NS;
}

/* Where both share a core, to yield is enough. */
static void
let_others_run(const struct fmp_channel *ch, uint64_t bytes)
{
    sched_yield();
    if (bytes > FMP_LEAD_BYTES && fmp_lead_is_long(ch, bytes)) {
        sys_sleep_ns(NAP_NS);
    }
}

void
fmp_lead_give_way_slow(struct fmp_channel *ch, uint64_t bytes)
{
    uint64_t head = fmp_load_relaxed(&ch->ring.shm->head); /* relaxed: a sign of life, no more */
    if (head == ch->head_waited) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS
        uint64_t end = sys_now_ns() + moment_ns(bytes);
        do {
            let_others_run(ch, bytes);
        } while (fmp_lead_is_long(ch, bytes) && sys_now_ns() < end);
    Py_END_ALLOW_THREADS
    if (fmp_load_relaxed(&ch->ring.shm->head) == head) { /* relaxed: as above */
        ch->head_waited = head;
    }
}
