#!/bin/sh
# The first payout, by the command line: declare who is paid, look at what would happen, ask for the payout, follow it
# until it is settled, and check its place in the audit log without any server.
#
#     examples/first_payout.sh                 # the sandbox that `make up` started, on its simulated chain if it has one
#     examples/first_payout.sh BTC             # in bitcoin, on the sandbox's own Bitcoin node (regtest)
#     examples/first_payout.sh USDC            # or USDT: from the hot vault on the sandbox's own EVM node
#     STRONGROOM_DATA=DIR examples/first_payout.sh
#
# Run it twice: the idempotency keys are the same, so there is still one beneficiary and one payout.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
STRONGROOM_DATA=${STRONGROOM_DATA:-$root/.sandbox}
export STRONGROOM_DATA
[ -f "$STRONGROOM_DATA/sandbox.json" ] || { echo "no sandbox in $STRONGROOM_DATA: make up" >&2; exit 5; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

strongroom() { "$root/bin/strongroom" "$@"; }
field() { sed -n "s/^ \"$1\": \"\\(.*\\)\",*\$/\\1/p" "$2"; }
wanted=${1:-}
if [ -z "$wanted" ]; then
    wanted=USDC
    if grep -q '"SIM"' "$STRONGROOM_DATA/sandbox.json"; then wanted=SIM; fi
fi
key=first-$wanted asset=$wanted
case $wanted in
SIM) amount=1250000000 network=sim:sandbox address=sim1qmirvmtn3qzyqv5jap7rwts7caqmm335aea3unkm trip='trip 4711' ;;
BTC)
    amount=25000 network=bip122:0f9188f13cb7b2c71f2a335e3a4fc328
    address=bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 trip='trip 4712' ;;
USDC | USDT)
    amount=12500000 network=eip155:31337 address=0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed trip="trip 4713 in $wanted" ;;
*) echo "first_payout.sh: $wanted isn't one of SIM, BTC, USDC, USDT" >&2; exit 2 ;;
esac
say() { printf '\n== %s\n' "$*"; }

say 'Who is paid, and where. The key that declares can never pay.'
strongroom beneficiary create --idempotency-key $key-beneficiary --name 'Rosa Example' \
    --network $network --address $address --json > "$scratch/beneficiary.json"
beneficiary=$(field id "$scratch/beneficiary.json")
strongroom beneficiary show "$beneficiary"

say 'What would happen now. Nothing is stored; a new destination cools off first (5 s in a sandbox).'
strongroom payout preview --beneficiary "$beneficiary" --asset $asset --amount $amount
sleep 6

say "Ask for $amount base units of $asset. The key that pays can never declare."
strongroom payout create --idempotency-key $key-payout --beneficiary "$beneficiary" --asset $asset --amount $amount \
    --external-id "$trip" --json > "$scratch/payout.json"
payout=$(field id "$scratch/payout.json")
tries=0
while [ $tries -lt 80 ]; do
    strongroom payout show "$payout" --json > "$scratch/payout.json"
    [ "$(field state "$scratch/payout.json")" != settled ] || break
    tries=$((tries + 1))
    sleep 0.5
done
strongroom payout show "$payout"

say 'Its receipt: the leaf that tells of it, and the proof that the signed log holds this leaf.'
strongroom api GET "/v1/payouts/$payout/receipt"

say 'The whole log, exported and verified by its own text and one public key. No server is asked.'
strongroom audit export "$scratch/audit.jsonl" 2> "$scratch/said" || { cat "$scratch/said" >&2; exit 1; }
strongroom audit verify "$scratch/audit.jsonl"
