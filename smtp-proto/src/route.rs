//! From one connection to the next: candidate hosts in order until every recipient has its final word.
