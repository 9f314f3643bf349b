// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The hot wallet on an EVM chain, which bounds what even a stolen signer key can take.
/// @notice Four parties, and what each may do:
///  - owner: the treasury's Safe, fixed for ever. Sets limits, rotates the other two, unpauses, withdraws.
///  - operator: the signer's key. Pays within the limits, kills batches, sweeps to the owner, pauses.
///  - guardian: a key that can only pause; its signed message may be relayed by anyone.
///  - anyone: relays that message, and reads.
/// A batch is paid once, whatever is sent how often and in whichever order; docs/vault.md says how.
/// @dev No upgrade, no delegatecall, and nothing is payable: ether that is forced in stays and means nothing. All that
/// is decided is written before the first call to a token; after the last only this batch's own skip flags are, which
/// nothing reads before. So a token that calls back in gains nothing, and no lock is needed.
/// Amounts are in the token's base units, times in seconds since 1970.
contract HotVault {
    /// None: never seen, or every attempt reverted. Executed and Killed are final.
    enum Status { None, Executed, Killed }

    /// What became of a batch. Bit i of `skipped`: item i wasn't paid, and no retry has taken it over yet.
    struct Fate {
        Status status;
        uint248 skipped;
    }

    /// A token's bucket. `spent`, as of `updated`, drains by `refillPerSecond`; nothing is paid that would bring it above
    /// `capacity`. So what leaves in any t seconds is at most capacity + t * refillPerSecond. `maximum` bounds one item.
    /// `gasPerItem` is what a transfer is given; 0 says that the token isn't listed.
    struct Limit {
        uint96 capacity;
        uint96 spent;
        uint40 updated;
        uint96 refillPerSecond;
        uint96 maximum;
        uint32 gasPerItem;
    }

    /// Item `index`, counted from 0, of an executed batch that skipped it.
    struct Retry {
        bytes32 batch;
        uint256 index;
    }

    /// As many items as have a flag in a Fate.
    uint256 public constant MAXIMUM_ITEMS = 248;
    /// Less would skip every payee of any token.
    uint256 public constant MINIMUM_GAS_PER_ITEM = 30_000;

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant PAUSE_TYPE = keccak256("Pause(uint256 epoch)");

    address public immutable owner;
    address public operator;
    bool public paused;
    /// Grows with every unpause, and with it every pause message of before is void.
    uint64 public epoch;
    address public guardian;
    mapping(address token => Limit) public limits;
    mapping(bytes32 batch => Fate) public fates;

    /// `paid` is the sum of the items that were paid; bit i of `skipped` says that item i was not. What a payee got is
    /// in the token's own Transfer logs, of which there is one for each item that was paid, in the order of the items.
    event Executed(bytes32 indexed batch, address indexed token, uint256 paid, uint248 skipped);
    event Killed(bytes32 indexed batch);
    /// Item `index` of `batch` is taken over by the batch `by`.
    event Retried(bytes32 indexed batch, uint256 index, bytes32 indexed by);
    event Paused(uint64 epoch);
    event Unpaused(uint64 epoch);
    event Rotated(address operator, address guardian);
    event LimitSet(address indexed token, uint96 capacity, uint96 refillPerSecond, uint96 maximum, uint32 gasPerItem);
    event Swept(address indexed token, uint256 value);
    event Withdrawn(address indexed token, address indexed to, uint256 value);

    /// The caller may not do this.
    error NotAllowed();
    error VaultPaused();
    error VaultNotPaused();
    error DeadlinePassed();
    /// The id isn't the hash of this chain, this vault and these items.
    error WrongBatch(bytes32 expected);
    /// The batch was executed or killed before.
    error AlreadyDecided(Status status);
    /// A batch that should be killed was executed: its payees have their money.
    error KillExecuted(bytes32 batch);
    /// Nothing to retry: the item was paid, or never sent, or another batch took it over.
    error NotSkipped(bytes32 batch, uint256 index);
    error NotListed(address token);
    error WrongCount(uint256 count);
    error OverMaximum(uint256 index);
    error OverLimit(uint256 total, uint256 available);
    /// A transfer would get less than its gas, and would be skipped for the caller's thrift.
    error GasTooLow();
    /// Every item would be skipped: the token is at fault, or this vault. Nothing has changed.
    error NothingPaid();
    error TransferFailed();
    error NothingAbove(uint256 keep);
    error WrongSignature();
    /// Owner, operator and guardian are three different accounts, none of them 0.
    error WrongParties();
    error WrongLimit();

    modifier only(address party) {
        if (msg.sender != party) revert NotAllowed();
        _;
    }

    modifier operatorOrOwner() {
        if (msg.sender != operator && msg.sender != owner) revert NotAllowed();
        _;
    }

    constructor(address owner_, address operator_, address guardian_) {
        owner = owner_;
        _appoint(owner_, operator_, guardian_);
    }

    /// Pays a batch, or reverts and changes nothing. Items that the token won't transfer are skipped and flagged.
    /// @param batch `batchId(token, salt, items)`; naming it makes the call worthless on other chains and vaults.
    /// @param kills Earlier batches that must never be paid: each must not have been executed, and never can be now.
    /// @param retries Items that earlier batches skipped, and that items of this one replace.
    /// @param token A listed token.
    /// @param salt Makes batches of equal items differ.
    /// @param deadline The last second in which this may be paid.
    /// @param items 1 to MAXIMUM_ITEMS words: 20 bytes of payee, 12 bytes of amount. Who may be paid is the signer's
    /// to know; nothing is checked here but the amount.
    function pay(
        bytes32 batch,
        bytes32[] calldata kills,
        Retry[] calldata retries,
        address token,
        bytes32 salt,
        uint256 deadline,
        bytes32[] calldata items
    ) external only(operator) {
        if (paused) revert VaultPaused();
        if (block.timestamp > deadline) revert DeadlinePassed();
        bytes32 expected = batchId(token, salt, items);
        if (batch != expected) revert WrongBatch(expected);
        _kill(kills);
        _takeOver(retries, batch);
        Fate storage fate = fates[batch];
        if (fate.status != Status.None) revert AlreadyDecided(fate.status);
        fate.status = Status.Executed;
        _charge(limits[token], token, items);

        (uint256 paid, uint256 skipped) = _transferAll(token, limits[token].gasPerItem, items);
        if (skipped != 0) fate.skipped = uint248(skipped);
        emit Executed(batch, token, paid, uint248(skipped));
    }

    /// Makes sure that these batches are never paid; reverts if one was. Works while paused.
    function kill(bytes32[] calldata batches) external operatorOrOwner {
        _kill(batches);
    }

    /// Sends what is above `keep` of any token to the owner. Works while paused.
    function sweep(address token, uint256 keep) external operatorOrOwner {
        uint256 balance = IToken(token).balanceOf(address(this));
        if (balance <= keep) revert NothingAbove(keep);
        if (!_transfer(token, owner, balance - keep, gasleft())) revert TransferFailed();
        emit Swept(token, balance - keep);
    }

    /// Sends any token to anybody, outside of every limit. Works while paused.
    function withdraw(address token, address to, uint256 value) external only(owner) {
        if (token.code.length == 0 || !_transfer(token, to, value, gasleft())) revert TransferFailed();
        emit Withdrawn(token, to, value);
    }

    function pause() external {
        if (msg.sender != guardian && msg.sender != operator && msg.sender != owner) revert NotAllowed();
        _pause();
    }

    /// The guardian's signature over `pauseDigest()`, brought by anyone.
    function pauseBySignature(uint8 v, bytes32 r, bytes32 s) external {
        // Nobody's signature recovers to 0, and the guardian never is 0. A second form of the same signature pauses too.
        if (ecrecover(pauseDigest(), v, r, s) != guardian) revert WrongSignature();
        _pause();
    }

    function unpause() external only(owner) {
        if (!paused) revert VaultNotPaused();
        paused = false;
        epoch += 1;
        emit Unpaused(epoch);
    }

    function rotate(address operator_, address guardian_) external only(owner) {
        _appoint(owner, operator_, guardian_);
    }

    /// Lists a token, changes its limit, or with four zeros takes it off. What was spent stays spent.
    /// @param capacity The most that can leave at once. A new token's is there at once.
    /// @param refillPerSecond How fast what was spent is forgotten.
    /// @param maximum The most of one item; at most `capacity`.
    /// @param gasPerItem Enough for the token's dearest honest transfer; 100,000 does for most.
    function setLimit(address token, uint96 capacity, uint96 refillPerSecond, uint96 maximum, uint32 gasPerItem)
        external
        only(owner)
    {
        if (gasPerItem == 0) {
            if (capacity != 0 || refillPerSecond != 0 || maximum != 0) revert WrongLimit();
        } else if (
            gasPerItem < MINIMUM_GAS_PER_ITEM || maximum == 0 || maximum > capacity || token.code.length == 0
        ) {
            revert WrongLimit();
        }
        Limit storage limit = limits[token];
        limit.spent = uint96(_spent(limit));
        limit.updated = uint40(block.timestamp);
        limit.capacity = capacity;
        limit.refillPerSecond = refillPerSecond;
        limit.maximum = maximum;
        limit.gasPerItem = gasPerItem;
        emit LimitSet(token, capacity, refillPerSecond, maximum, gasPerItem);
    }

    /// What `pay` would let out of a token now.
    function available(address token) public view returns (uint256) {
        Limit storage limit = limits[token];
        uint256 spent = _spent(limit);
        return spent < limit.capacity ? limit.capacity - spent : 0;
    }

    function batchId(address token, bytes32 salt, bytes32[] calldata items) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), token, salt, items));
    }

    /// What the guardian signs (EIP-712) to pause once, in this epoch, on this chain. It has no other end.
    function pauseDigest() public view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPE, keccak256("Strongroom HotVault"), keccak256("1"), block.chainid, address(this))
        );
        return keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(PAUSE_TYPE, epoch))));
    }

    function _kill(bytes32[] calldata batches) private {
        for (uint256 i; i < batches.length; ++i) {
            Fate storage fate = fates[batches[i]];
            if (fate.status == Status.Executed) revert KillExecuted(batches[i]);
            if (fate.status == Status.Killed) continue;
            fate.status = Status.Killed;
            emit Killed(batches[i]);
        }
    }

    function _takeOver(Retry[] calldata retries, bytes32 by) private {
        for (uint256 i; i < retries.length; ++i) {
            (bytes32 batch, uint256 index) = (retries[i].batch, retries[i].index);
            Fate storage fate = fates[batch];
            uint248 flag = index < MAXIMUM_ITEMS ? uint248(1 << index) : 0;
            if (fate.skipped & flag == 0) revert NotSkipped(batch, index);
            fate.skipped ^= flag;
            emit Retried(batch, index, by);
        }
    }

    /// Before the first call, and whatever becomes of the items: what is skipped stays spent.
    function _charge(Limit storage limit, address token, bytes32[] calldata items) private {
        if (limit.gasPerItem == 0 || token.code.length == 0) revert NotListed(token);
        if (items.length == 0 || items.length > MAXIMUM_ITEMS) revert WrongCount(items.length);
        uint256 maximum = limit.maximum;
        uint256 total;
        for (uint256 i; i < items.length; ++i) {
            uint256 amount = uint96(_word(items, i));
            if (amount > maximum) revert OverMaximum(i);
            unchecked { total += amount; } // 248 times 96 bits
        }
        uint256 spent = _spent(limit) + total;
        if (spent > limit.capacity) revert OverLimit(total, available(token));
        limit.spent = uint96(spent);
        limit.updated = uint40(block.timestamp);
    }

    function _transferAll(address token, uint256 gasPerItem, bytes32[] calldata items)
        private
        returns (uint256 paid, uint256 skipped)
    {
        // A call gets at most 63/64 of what is left (EIP-150), and silently less than it was promised.
        uint256 needed = gasPerItem + gasPerItem / 32 + 3_000;
        for (uint256 i; i < items.length; ++i) {
            if (gasleft() < needed) revert GasTooLow();
            uint256 item = _word(items, i);
            uint256 amount = uint96(item);
            if (_transfer(token, address(uint160(item >> 96)), amount, gasPerItem)) {
                unchecked { paid += amount; }
            } else {
                skipped |= 1 << i;
            }
        }
        if (skipped == type(uint256).max >> (256 - items.length)) revert NothingPaid();
    }

    /// `items[i]` without a second look at its bounds, which both loops keep; that look costs 60 gas.
    function _word(bytes32[] calldata items, uint256 i) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(items.offset, shl(5, i)))
        }
    }

    /// True if the token took the transfer: it returned nothing, or the word 1. Whatever else it returns isn't copied.
    /// The caller knows that there is code at `token`.
    function _transfer(address token, address to, uint256 value, uint256 gasGiven) private returns (bool done) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, shl(224, 0xa9059cbb)) // transfer(address,uint256)
            mstore(add(free, 4), to)
            mstore(add(free, 36), value)
            done := call(gasGiven, token, 0, free, 68, 0, 32)
            let isTrue := and(gt(returndatasize(), 31), eq(mload(0), 1))
            done := and(done, or(iszero(returndatasize()), isTrue))
        }
    }

    /// What of the capacity counts as used now. May be above it after the owner lowered it.
    function _spent(Limit storage limit) private view returns (uint256) {
        uint256 drained = (block.timestamp - limit.updated) * limit.refillPerSecond;
        return limit.spent > drained ? limit.spent - drained : 0;
    }

    function _pause() private {
        paused = true;
        emit Paused(epoch);
    }

    function _appoint(address owner_, address operator_, address guardian_) private {
        bool missing = owner_ == address(0) || operator_ == address(0) || guardian_ == address(0);
        if (missing || operator_ == guardian_ || operator_ == owner_ || guardian_ == owner_) revert WrongParties();
        (operator, guardian) = (operator_, guardian_);
        emit Rotated(operator_, guardian_);
    }
}

/// What `sweep` asks a token.
interface IToken {
    function balanceOf(address account) external view returns (uint256);
}
