"""Data of the problems that the broad controller learns on, and how their members differ."""

MNIST_4 = {"name": "mnist", "image_size": 4, "max_examples": 30_000}
MNIST_5 = {"name": "mnist", "image_size": 5, "max_examples": 30_000}
MNIST_7 = {"name": "mnist", "image_size": 7, "max_examples": 12_000}
MNIST_8 = {"name": "mnist", "image_size": 8, "max_examples": 12_000}
MNIST_14 = {"name": "mnist", "image_size": 14, "max_examples": 12_000}
MNIST_28 = {"name": "mnist", "max_examples": 12_000}
RESCALED = {"rescaling": (0.3, 3.0)}
WIDTH = {"width": (0.3, 1.0)}
SHARE, SCALE = (0.05, 1.0), (0.5, 2.0)  # of the examples; of the first weights
MNIST = {"name": "mnist"}
FEW = {"label_noise": (0.0, 0.2), "data_fraction": (0.1, 1.0), **RESCALED}
CLASSIFIERS = {"name": "generated_classifiers"}
FUNCTIONS = {"name": "generated_functions"}
CURVES = {"name": "generated_curves"}
RULES = {"name": "generated_rules"}
