/* Size classes; see classes.h. */
#include "heap/classes.h"

#include "heap/layout.h"

/* The inverse of fmp_class_of_steps: 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ... */
static uint64_t
steps_of(unsigned step_class)
{
    if (step_class < 4) {
        return step_class + 1;
    }
    unsigned log2 = step_class / 4 + 1;
    return (uint64_t)(5 + step_class % 4) << (log2 - 2);
}

static uint32_t
reciprocal_of(uint64_t stride)
{
    return (uint32_t)(((UINT64_C(1) << 32) + stride - 1) / stride);
}

static struct fmp_class
small_shape(unsigned cls)
{
    uint64_t payload = cls == FMP_PARCEL_CLASS ? FMP_UNIT_BYTES : steps_of(cls - 1) * FMP_UNIT_BYTES;
    uint64_t stride = sizeof(struct fmp_block_shm) + payload;
    return (struct fmp_class){
        .payload = payload,
        .stride = stride,
        .capacity = (uint32_t)((FMP_CHUNK_BYTES - sizeof(struct fmp_chunk_shm)) / (stride + FMP_BITMAP_BYTES)),
        .run = 1,
        .payload_off = sizeof(struct fmp_block_shm),
        .reciprocal = reciprocal_of(stride),
        .gives_back = payload >= FMP_GIVE_BACK_MIN,
    };
}

struct fmp_class
fmp_class_shape(unsigned cls)
{
    if (cls < FMP_SMALL_CLASSES) {
        return small_shape(cls);
    }
    uint64_t run = steps_of(cls - FMP_SMALL_CLASSES);
    return (struct fmp_class){
        .payload = run * FMP_CHUNK_BYTES - FMP_LARGE_PAYLOAD_OFF,
        .stride = run * FMP_CHUNK_BYTES,
        .capacity = 1,
        .run = (uint32_t)run,
        .payload_off = FMP_LARGE_PAYLOAD_OFF - sizeof(struct fmp_chunk_shm),
        .reciprocal = reciprocal_of(FMP_CHUNK_BYTES),
        .gives_back = true,
    };
}
