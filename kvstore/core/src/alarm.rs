//! Alarms: cluster-wide, kept across restarts.
//!
//! A CORRUPT alarm names the member that holds something else than the others: that member stops serving,
//! the others go on. With no member named (0), the whole cluster stops, as etcd does for any of them. A
//! NOSPACE alarm stops what grows the store, whoever raised it.

use crate::meta;
use crate::overlay::Overlay;
use crate::read::{Read, ReadError};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse, AlarmType};

/// The alarm of a full store.
pub const ALARM_NOSPACE: i32 = AlarmType::Nospace as i32;
/// The alarm of a member that differs from the others.
pub const ALARM_CORRUPT: i32 = AlarmType::Corrupt as i32;

/// Whether `raised` keep `member` from serving.
pub fn stops_member(raised: &[AlarmMember], member: u64) -> bool {
    raised
        .iter()
        .any(|alarm| alarm.alarm == ALARM_CORRUPT && (alarm.member_id == 0 || alarm.member_id == member))
}

/// All alarms that are raised.
///
/// # Errors
/// When the store can't be read.
pub fn alarms(view: &dyn Read) -> Result<Vec<AlarmMember>, ReadError> {
    Ok(meta::read_alarms(view)?.alarms)
}

/// Lists, raises or clears alarms (etcd `server/etcdserver/apply/backend.go`, `Alarm`).
pub fn alarm(state: &mut Overlay<'_>, request: &AlarmRequest) -> Result<AlarmResponse, ReadError> {
    let mut raised = meta::read_alarms(state)?;
    let this = AlarmMember {
        member_id: request.member_id,
        alarm: request.alarm,
    };
    match request.action() {
        AlarmAction::Get => {
            raised
                .alarms
                .retain(|a| request.alarm() == AlarmType::None || a.alarm == request.alarm);
            Ok(raised)
        }
        AlarmAction::Activate => {
            if request.alarm() == AlarmType::None {
                return Ok(AlarmResponse::default());
            }
            if !raised.alarms.contains(&this) {
                raised.alarms.push(this);
                meta::write_alarms(state, &raised);
            }
            Ok(AlarmResponse {
                header: None,
                alarms: vec![this],
            })
        }
        AlarmAction::Deactivate => {
            let before = raised.alarms.len();
            raised.alarms.retain(|a| *a != this);
            let cleared = raised.alarms.len() < before;
            if cleared {
                meta::write_alarms(state, &raised);
            }
            Ok(AlarmResponse {
                header: None,
                alarms: if cleared { vec![this] } else { Vec::new() },
            })
        }
    }
}
