"""The record of who did what, final without a coordinator, and the second opinion on it.

Each room imports only those before it: `feeds` (what one author says), `stores` (where it lies), `blocks` (what is made
final), `outcome` (what that leads to), `finality` (one node's part in it), `check` (proofs and audits for somebody who
trusts no node). Knows no gossip, no model and no network. Pure but for `stores`.
"""
