"""Will move payouts along, from intake to settlement. Empty so far: payouts stay received or held."""
