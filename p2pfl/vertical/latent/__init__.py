"""Federated transfer learning: a source with labels teaches a target with other columns, over the people both have."""
