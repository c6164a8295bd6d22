//! A driver that goes away and comes back, GPUs that come and go, and an operator who wants them: the exporter runs on,
//! and every millijoule that its readings saw is accounted.

#[cfg(test)]
mod away;
#[cfg(test)]
mod plug;
#[cfg(test)]
mod release;
#[cfg(test)]
mod watch;
