/* The spaces of this process; see spaces.h. */
#include "pyrt/spaces.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fault.h"
#include "dict/dict.h"
#include "ring/ring.h"
#include "sync/death.h"
#include "sys/clock.h"

/* Between two looks for dead orphans. */
#define ORPHANS_LOOK_NS (100 * FMP_NS_PER_MS)
/* So many slots are passed to find one in use. */
#define NOTICE_SLOTS 256

struct fmp_space *fmp_spaces;

struct fmp_space *
fmp_space_of_token(const unsigned char *token)
{
    struct fmp_space *space = fmp_spaces;
    while (space != NULL && !fmp_region_is(&space->region, token)) {
        space = space->next;
    }
    return space;
}

/* ---- making ---- */

/* FASTMP_REGION_SIZE in bytes: for address spaces that are limited, and for tests of a full region. 0 = as large as can
 * be had. */
static uint64_t
region_size_wanted(void)
{
    const char *env = getenv("FASTMP_REGION_SIZE");
    return env != NULL ? strtoull(env, NULL, 10) & ~UINT64_C(4095) : 0;
}

/* For the heap, which lies below the rings: does a cell that somebody alive will read still name the message? */
static bool
is_carried(struct fmp_region *region, fmp_off off, uint64_t bytes, uint64_t position)
{
    bool is_dict, carried = fmp_dict_carries(region, off, bytes, position, &is_dict);
    if (is_dict) {
        return carried;
    }
    struct fmp_ring ring;
    return fmp_ring_open(&ring, region, off, bytes) == 0 && fmp_ring_carries(&ring, position);
}

int
fmp_space_join(struct fmp_space *space, uint32_t reserved)
{
    int rc = reserved != 0 ? fmp_participant_adopt(&space->region, reserved) : fmp_participant_join(&space->region);
    if (rc == -EAGAIN && space->heap != NULL) {
        fmp_space_sweep_dead(space);
        rc = fmp_participant_join(&space->region);
    }
    if (rc == 0) {
        fmp_death_watch(&space->region);
    }
    return rc;
}

/* The region is mapped: takes an identity, opens the heap, and puts the space into the list. On failure the region is
 * closed. */
static int
open_space(struct fmp_space **space, const struct fmp_region *region, uint32_t reserved)
{
    struct fmp_space *s = calloc(1, sizeof *s);
    int rc = -ENOMEM;
    if (s != NULL) {
        s->region = *region;
        rc = fmp_heap_open(&s->heap, &s->region);
    }
    if (rc == 0) {
        fmp_heap_set_carried(s->heap, is_carried);
        s->was_awaited = reserved != 0;
        rc = fmp_space_join(s, reserved);
    }
    if (rc == 0) {
        s->next = fmp_spaces;
        *space = fmp_spaces = s;
        return 0;
    }
    struct fmp_region mapped = *region;
    if (s != NULL && s->heap != NULL) {
        fmp_heap_close(s->heap);
    }
    free(s);
    fmp_region_close(&mapped);
    return rc;
}

int
fmp_space_make(struct fmp_space **space)
{
    struct fmp_region region;
    int rc = fmp_region_create(&region, region_size_wanted());
    return rc == 0 ? open_space(space, &region, 0) : rc;
}

int
fmp_space_attach(struct fmp_space **space, int fd, const unsigned char *token, uint32_t reserved)
{
    struct fmp_region region;
    int own_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own_fd < 0) {
        return -errno;
    }
    int rc = fmp_region_attach(&region, own_fd, token);
    if (rc != 0) {
        close(own_fd);
        return rc;
    }
    FMP_FAULT("spaces:attached");
    rc = open_space(space, &region, reserved);
    FMP_FAULT("spaces:entered");
    return rc;
}

/* ---- the dead ---- */

void
fmp_space_bury(struct fmp_space *space, uint32_t id)
{
    fmp_heap_reclaim(space->heap, id);
}

void
fmp_space_sweep_dead(struct fmp_space *space)
{
    for (uint32_t slot = 0; slot < FMP_PARTICIPANTS_MAX; slot++) {
        uint32_t id = fmp_participant_in_slot(&space->region, slot);
        if (id != 0 && fmp_participant_is_killed(&space->region, id)) {
            fmp_space_bury(space, id);
        }
    }
}

void
fmp_space_notice_one(struct fmp_space *space)
{
    for (unsigned i = 0; i < NOTICE_SLOTS; i++) {
        space->noticed_slot = (space->noticed_slot + 1) % FMP_PARTICIPANTS_MAX;
        uint32_t id = fmp_participant_in_slot(&space->region, space->noticed_slot);
        if (id != 0 && id != space->region.me) {
            if (fmp_participant_is_killed(&space->region, id)) {
                fmp_space_bury(space, id);
            }
            return;
        }
    }
}

void
fmp_space_bury_orphans(struct fmp_space *space, bool at_once)
{
    uint64_t now = sys_now_ns();
    if (now < space->orphans_next_ns && !at_once) {
        return;
    }
    space->orphans_next_ns = now + ORPHANS_LOOK_NS;
    for (uint32_t slot = 0; slot < FMP_PARTICIPANTS_MAX; slot++) {
        uint32_t id = fmp_participant_orphan_in_slot(&space->region, slot);
        if (id != 0 && fmp_participant_is_killed(&space->region, id)) {
            fmp_space_bury(space, id);
        }
    }
}
