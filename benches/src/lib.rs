//! Benchmarks beside other libraries (`benches/`), and two programs (`examples/`): `load` measures
//! on sockets, and `interop` prints which real servers and clients exchange mail with ours.
