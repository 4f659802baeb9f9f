"""Registers the built-in optimizers and learning rate schedules."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_optimizers(register):
    """Register the built-in optimizers."""
    register(
        "adamw", "sensorium.optimizers.adamw:adamw", summary="Adam with decoupled weight decay (Loshchilov & Hutter)"
    )
    register("sgd", "sensorium.optimizers.sgd:sgd", summary="stochastic gradient descent with momentum")
    register("lars", "sensorium.optimizers.lars:lars", summary="SGD with layer-wise learning rates, for large batches")
    register(
        "muon",
        "sensorium.optimizers.muon:muon",
        summary="orthogonalized momentum for hidden matrices, AdamW for the rest",
    )


@hookimpl
def sensorium_register_schedules(register):
    """Register the built-in schedules."""
    register("cosine", "sensorium.optimizers.schedules:Cosine", summary="half a cosine from the peak to a minimum")
    register("constant", "sensorium.optimizers.schedules:Constant", summary="the peak, to the end")
    register("linear", "sensorium.optimizers.schedules:Linear", summary="linear from the peak to a minimum")
    register(
        "inverse-sqrt",
        "sensorium.optimizers.schedules:InverseSqrt",
        summary="the inverse square root of the step, which needs no planned length",
    )
    register(
        "wsd",
        "sensorium.optimizers.schedules:WSD",
        summary="warm-up, stable, decay: the peak, then a decay at the end; runs are continued from the stable phase",
    )
