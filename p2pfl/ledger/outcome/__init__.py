"""What final entries lead to: members, work, credits, and the rules that pay. Pure; knows no vote."""
