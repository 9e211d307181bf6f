"""Where a learner on RLlib runs."""

from __future__ import annotations

from pydantic import Field, model_validator

from .base import LearnerSection


class ClusterConfig(LearnerSection):
    """Where an RLlib learner runs; by default all of it in this process, without Ray's daemons."""

    num_env_runners: int = Field(default=0, ge=0, le=10_000, description="[-] processes that sample; 0: this one does")
    num_learners: int = Field(default=0, ge=0, le=1000, description="[-] processes that update; 0: this one does")
    address: str | None = Field(
        default=None, min_length=1, description="HOST:PORT of a running Ray cluster, or auto; none: this machine"
    )
    num_cpus: int | None = Field(
        default=None, ge=1, le=100_000, description="[-] logical processors of a local Ray; none: as many as are needed"
    )
    object_store_mb: int = Field(
        default=200, ge=80, le=10**6, description="[MiB] shared memory of a local Ray for samples and weights"
    )

    @model_validator(mode="after")
    def _local_or_not(self) -> ClusterConfig:
        """The resources of a cluster that is already running are not ours to set."""
        if self.address is not None:
            for name in ("num_cpus", "object_store_mb"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name}: is for a local Ray; the cluster at {self.address} has its own")
        elif self.num_cpus is not None and self.num_cpus < self.workers:
            raise ValueError(
                f"num_cpus: must be at least {self.workers}, one for each env runner and learner, got {self.num_cpus}"
            )
        return self

    @property
    def workers(self) -> int:
        """Processes beside this one."""
        return self.num_env_runners + self.num_learners
