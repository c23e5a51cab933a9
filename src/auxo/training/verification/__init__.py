"""Whether a run directory is what its config says: files compared, and parts trained and measured again."""

from auxo.training.verification.findings import Finding
from auxo.training.verification.stored import StoredRun, read_stored
from auxo.training.verification.verify import Verification, VerifyConfig, verify_run

__all__ = ["Finding", "StoredRun", "Verification", "VerifyConfig", "read_stored", "verify_run"]
