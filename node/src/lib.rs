//! One Quorate storage node.
