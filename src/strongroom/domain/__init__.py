"""What the words of the house mean: money, payouts, policy, ledger. Pure, and below everything else."""
