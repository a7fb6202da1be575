"""emcee: a Markov chain whose likelihoods a Pool computes."""
# /// script
# dependencies = ["emcee==3.1.6", "numpy>=2,<3"]
# [tool.client]
# title = "emcee: sampler with a Pool"
# ///

import multiprocessing

import emcee
import numpy


def log_probability(theta):
    return -0.5 * float(numpy.sum(theta**2))


if __name__ == "__main__":
    numpy.random.seed(42)
    start = numpy.random.randn(32, 5)
    with multiprocessing.Pool(2) as pool:
        sampler = emcee.EnsembleSampler(32, 5, log_probability, pool=pool)
        sampler.run_mcmc(start, 100)
    print(numpy.round(sampler.get_chain(flat=True).mean(axis=0), 9).tolist())
