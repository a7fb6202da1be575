/* Parcels that are made for a message; see carrier.h. */
#include "pyrt/carrier.h"

#include "heap/parcels.h"
#include "pyrt/wait.h"

/* Python code runs while a message is pickled, and other threads run meanwhile. */
static _Thread_local struct fmp_carrier *current;

struct fmp_carrier *
fmp_carrier_enter(struct fmp_carrier *carrier)
{
    struct fmp_carrier *previous = current;
    current = carrier;
    return previous;
}

static int
make_room(struct fmp_carrier *carrier)
{
    if (carrier->count < carrier->room) {
        return 0;
    }
    size_t room = carrier->room != 0 ? 2 * carrier->room : 8;
    struct fmp_carried *list = PyMem_Realloc(carrier->list, room * sizeof *list);
    if (list == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    carrier->list = list;
    carrier->room = room;
    return 0;
}

int
fmp_carrier_pack(struct fmp_space *space, fmp_off target, fmp_off *parcel, uint64_t *ticket)
{
    if (current != NULL && make_room(current) < 0) {
        return -1;
    }
    int rc = fmp_parcel_make(space->heap, target, parcel, ticket);
    if (rc != 0) {
        fmp_py_raise(rc, rc == -ENOSPC ? "no room for a reference in fastmp's shared memory" : NULL);
        return -1;
    }
    if (current != NULL) {
        current->list[current->count++] = (struct fmp_carried){.space = space, .parcel = *parcel};
    }
    return 0;
}

size_t
fmp_carrier_count(void)
{
    return current != NULL ? current->count : 0;
}

size_t
fmp_carrier_settle(struct fmp_carrier *carrier, const struct fmp_space *space)
{
    size_t kept = 0;
    for (size_t i = 0; i < carrier->count; i++) {
        if (carrier->list[i].space == space) {
            carrier->list[kept++] = carrier->list[i];
        }
    }
    return carrier->count = kept;
}

void
fmp_carrier_forget(struct fmp_carrier *carrier)
{
    carrier->count = 0;
}

void
fmp_carrier_drop(struct fmp_carrier *carrier)
{
    while (carrier->count > 0) {
        const struct fmp_carried *c = &carrier->list[--carrier->count];
        fmp_parcel_free(c->space->heap, c->parcel);
    }
}

void
fmp_carrier_close(struct fmp_carrier *carrier)
{
    fmp_carrier_drop(carrier);
    PyMem_Free(carrier->list);
    *carrier = (struct fmp_carrier){0};
}
