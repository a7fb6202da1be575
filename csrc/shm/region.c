/* Regions; see region.h. */
#include "shm/region.h"

#include <unistd.h>

#include "sys/memory.h"

static_assert(sizeof(struct fmp_region_shm) <= FMP_PARTICIPANTS_OFF, "the header is one page");

static int
map_new(struct fmp_region *r, uint64_t size)
{
    int fd = sys_memfd("fastmp", size);
    if (fd < 0) {
        return fd;
    }
    void *base;
    int rc = sys_map_shared(fd, size, &base);
    if (rc == 0) {
        rc = sys_reserve_pages(fd, 0, FMP_PARTICIPANTS_OFF);
        rc = rc == 0 ? sys_reserve_pages(fd, FMP_PARKING_OFF, FMP_PARKING_BYTES) : rc;
        if (rc == 0) {
            *r = (struct fmp_region){.base = base, .size = size, .fd = fd};
            return 0;
        }
        sys_unmap(base, size);
    }
    close(fd);
    return rc;
}

/* What is tried first where no size was asked for. A process whose address space is limited keeps the other half, for
 * its own objects, libraries and threads. */
static uint64_t
size_to_try(void)
{
    uint64_t half = sys_address_space() / 2 / FMP_REGION_SIZE_STEP * FMP_REGION_SIZE_STEP;
    half = half > FMP_REGION_SIZE_MIN ? half : FMP_REGION_SIZE_MIN;
    return half < FMP_REGION_SIZE_DEFAULT ? half : FMP_REGION_SIZE_DEFAULT;
}

int
fmp_region_create(struct fmp_region *r, uint64_t size)
{
    uint64_t want = size != 0 ? size : size_to_try();
    if (want < FMP_REGION_SIZE_MIN) {
        return -EINVAL;
    }
    int rc = map_new(r, want);
    while (rc != 0 && rc != -EMFILE && rc != -ENFILE && rc != -ENOSYS && size == 0 && want / 2 >= FMP_REGION_SIZE_MIN) {
        want = want / 2 / FMP_REGION_SIZE_STEP * FMP_REGION_SIZE_STEP;
        rc = map_new(r, want);
    }
    if (rc != 0) {
        return rc;
    }
    struct fmp_region_shm *h = fmp_region_header(r);
    rc = sys_random(h->token, sizeof h->token);
    if (rc != 0) {
        fmp_region_close(r);
        return rc;
    }
    h->layout = FMP_REGION_LAYOUT;
    h->header_bytes = sizeof *h;
    h->size = want;
    h->magic = FMP_REGION_MAGIC;
    return 0;
}

static bool
header_is_sound(const struct fmp_region_shm *h, uint64_t size)
{
    return h->magic == FMP_REGION_MAGIC && h->layout == FMP_REGION_LAYOUT && h->header_bytes == sizeof *h &&
           h->size == size;
}

int
fmp_region_attach(struct fmp_region *r, int fd, const unsigned char *token)
{
    uint64_t size;
    int rc = sys_file_size(fd, &size);
    if (rc != 0) {
        return rc;
    }
    if (size < FMP_REGION_SIZE_MIN || !sys_cannot_shrink(fd)) {
        return -EPROTO;
    }
    void *base;
    rc = sys_map_shared(fd, size, &base);
    if (rc != 0) {
        return rc;
    }
    struct fmp_region mapped = {.base = base, .size = size, .fd = fd};
    if (!header_is_sound(base, size) || (token != NULL && !fmp_region_is(&mapped, token))) {
        sys_unmap(base, size);
        return -EPROTO;
    }
    *r = mapped;
    return 0;
}

void
fmp_region_close(struct fmp_region *r)
{
    sys_unmap(r->base, r->size);
    close(r->fd);
    *r = (struct fmp_region){.fd = -1};
}
