"""scikit-learn with joblib's multiprocessing backend: forests, searches, memory-mapped arrays."""
# /// script
# dependencies = ["scikit-learn==1.9.1", "joblib==1.6.0"]
# [tool.client]
# title = "scikit-learn: n_jobs=2, multiprocessing backend"
# ///

import joblib
import numpy
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score


def main():
    features, labels = make_classification(n_samples=2000, n_features=60, random_state=0)
    with joblib.parallel_backend("multiprocessing", n_jobs=2):
        forest = RandomForestClassifier(n_estimators=20, random_state=0)
        print(numpy.round(cross_val_score(forest, features, labels, cv=4), 6).tolist())
        search = GridSearchCV(LogisticRegression(max_iter=200), {"C": [0.1, 1.0, 10.0]}, cv=3)
        search.fit(features, labels)
        print(search.best_params_, round(search.best_score_, 6))
        print(sum(joblib.Parallel(max_nbytes=1000)(joblib.delayed(numpy.sum)(features + n) for n in range(20))) > 0)


if __name__ == "__main__":
    main()
