// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A token that does to each payee what its owner chose, so that one batch meets every fault among honest payees. It can
/// also be an operator itself, which calls the vault in the middle of the vault's own call. For tests only.
contract TestHostile {
    /// CallsBack makes the chosen call, once, and then pays.
    enum Behaviour {
        Pays,
        ReturnsNothing,
        ReturnsFalse,
        ReturnsTwo,
        ReturnsShort,
        Reverts,
        RevertsWithBomb,
        ReturnsBomb,
        BurnsGas,
        NeedsMuchGas,
        CallsBack
    }

    address public immutable owner = msg.sender;
    mapping(address => uint256) public balanceOf;
    mapping(address => Behaviour) public behaviourOf;
    address public target;
    bytes public callback;
    bool public calledBack;
    bool public callbackWorked;

    event Transfer(address indexed from, address indexed to, uint256 value);

    modifier onlyOwner() {
        require(msg.sender == owner, "TestHostile: not the owner");
        _;
    }

    function mint(address to, uint256 value) external onlyOwner {
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    function setBehaviour(address payee, Behaviour behaviour) external onlyOwner {
        behaviourOf[payee] = behaviour;
    }

    function setCallback(address target_, bytes calldata callback_) external onlyOwner {
        (target, callback, calledBack, callbackWorked) = (target_, callback_, false, false);
    }

    /// What the owner says, as this contract: so it can be a vault's operator.
    function perform(address to, bytes calldata data) external onlyOwner {
        (bool worked, bytes memory answer) = to.call(data);
        if (worked) return;
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }

    function transfer(address to, uint256 value) external {
        Behaviour behaviour = behaviourOf[to];
        if (behaviour == Behaviour.ReturnsFalse) _return(0, 32);
        if (behaviour == Behaviour.ReturnsTwo) _return(2, 32);
        if (behaviour == Behaviour.ReturnsShort) _return(0, 31);
        if (behaviour == Behaviour.Reverts) revert("TestHostile: not to you");
        if (behaviour == Behaviour.RevertsWithBomb || behaviour == Behaviour.ReturnsBomb) {
            _bomb(behaviour == Behaviour.ReturnsBomb);
        }
        if (behaviour == Behaviour.BurnsGas) while (true) {}
        if (behaviour == Behaviour.NeedsMuchGas) _burn(700_000);
        if (behaviour == Behaviour.CallsBack && !calledBack) {
            calledBack = true;
            (callbackWorked, ) = target.call(callback);
        }
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
        if (behaviour != Behaviour.ReturnsNothing) _return(1, 32);
    }

    /// Ends the call with this answer, and undoes nothing.
    function _return(uint256 word, uint256 size) private pure {
        assembly ("memory-safe") {
            mstore(0, word)
            return(0, size)
        }
    }

    function _burn(uint256 gasToBurn) private view {
        uint256 left = gasleft();
        require(left > gasToBurn, "TestHostile: not enough gas");
        while (left - gasleft() < gasToBurn) {}
    }

    /// 180 kB of zeros: what 100,000 gas has room for, and what a caller that copies it pays for again.
    function _bomb(bool returning) private pure {
        assembly ("memory-safe") {
            if returning { return(0x80, 180000) }
            revert(0x80, 180000)
        }
    }
}
