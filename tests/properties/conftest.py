"""A bounded number of examples, the same on every run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "call_archive",
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("call_archive")
