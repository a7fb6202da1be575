"""deap: a genetic algorithm whose `map` is a Pool's."""
# /// script
# dependencies = ["deap==1.4.4"]
# [tool.client]
# title = "deap: evolution with a Pool's map"
# ///

import multiprocessing
import random

from deap import algorithms, base, creator, tools

creator.create("FitnessMax", base.Fitness, weights=(1.0,))
creator.create("Individual", list, fitness=creator.FitnessMax)


def count_ones(individual):
    return (sum(individual),)


def main():
    random.seed(64)
    toolbox = base.Toolbox()
    toolbox.register("bit", random.randint, 0, 1)
    toolbox.register("individual", tools.initRepeat, creator.Individual, toolbox.bit, 100)
    toolbox.register("population", tools.initRepeat, list, toolbox.individual)
    toolbox.register("evaluate", count_ones)
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutFlipBit, indpb=0.05)
    toolbox.register("select", tools.selTournament, tournsize=3)
    with multiprocessing.Pool(2) as pool:
        toolbox.register("map", pool.map)
        population = toolbox.population(n=200)
        best = tools.HallOfFame(1)
        algorithms.eaSimple(population, toolbox, 0.5, 0.2, 30, halloffame=best, verbose=False)
    print(best[0].fitness.values, sum(map(sum, population)))


if __name__ == "__main__":
    main()
