"""From a recipe's parts to a model: plan, learner, model."""
