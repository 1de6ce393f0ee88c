"""One net cut between parties: bottom nets, a top net, and the lockstep of their steps."""
