//! Values of `vigie-slo` in the state that is kept: as the words and fractions that they are.

/// An exact fraction, as `3/1000`.
pub(crate) mod ratio {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use vigie_slo::ratio::Ratio;

    pub(crate) fn serialize<S: Serializer>(ratio: &Ratio, to: S) -> Result<S::Ok, S::Error> {
        let (num, den) = ratio.parts();
        to.collect_str(&format_args!("{num}/{den}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ratio, D::Error> {
        let text = String::deserialize(from)?;
        read(&text).ok_or_else(|| D::Error::custom("no fraction"))
    }

    pub(super) fn read(text: &str) -> Option<Ratio> {
        let (num, den) = text.split_once('/')?;
        Ratio::new(num.parse().ok()?, den.parse().ok()?)
    }
}

/// The same where there may be none.
pub(crate) mod some_ratio {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use vigie_slo::ratio::Ratio;

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(crate) fn serialize<S: Serializer>(
        ratio: &Option<Ratio>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match ratio {
            Some(ratio) => super::ratio::serialize(ratio, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Ratio>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        super::ratio::read(&text).map(Some).ok_or_else(|| D::Error::custom("no fraction"))
    }
}

/// How urgent an alert is, as its word.
pub(crate) mod severity {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use vigie_slo::alert::Severity;

    pub(crate) fn serialize<S: Serializer>(severity: &Severity, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(severity.word())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Severity, D::Error> {
        String::deserialize(from).map(|word| Severity::from(word.as_str()))
    }
}

/// The zone of a budget, as its word.
pub(crate) mod zone {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use vigie_slo::zone::Zone;

    const ALL: [Zone; 4] = [Zone::Ship, Zone::Careful, Zone::Freeze, Zone::Exhausted];

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    pub(crate) fn serialize<S: Serializer>(zone: &Zone, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(zone.word())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Zone, D::Error> {
        let word = String::deserialize(from)?;
        let zone = ALL.into_iter().find(|zone| zone.word() == word);
        zone.ok_or_else(|| D::Error::custom("no zone of a budget"))
    }
}
