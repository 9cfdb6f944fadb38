"""What is wrong or at risk, out of facts that were gathered elsewhere. Nothing here looks at a machine or a clock."""

from safekit.diagnosis.facts import ClusterFacts
from safekit.diagnosis.finding import Finding, Severity
from safekit.diagnosis.report import Report, diagnose

__all__ = ["ClusterFacts", "Finding", "Report", "Severity", "diagnose"]
