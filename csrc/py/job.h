/* The Job type, for the types that extend it. Called by: job.c, future.c, crew_calls.c. */
#ifndef FMP_PY_JOB_H
#define FMP_PY_JOB_H

#include "pool/crew.h"

extern PyTypeObject *fmp_job_type, *fmp_future_type;

int fmp_job_traverse(PyObject *self, visitproc visit, void *arg);
int fmp_job_clear(PyObject *self);
/* The rest of a dealloc: `clear` is the type's own. */
void fmp_job_free(PyObject *self, inquiry clear);

#endif
