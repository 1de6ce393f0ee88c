"""The second opinion: proofs, audits and explanations for somebody who trusts no node."""
