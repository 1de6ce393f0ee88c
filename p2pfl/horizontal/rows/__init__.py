"""Exchange with the whole neighbourhood, for rules that mix rows: in lockstep or at each node's own pace."""
