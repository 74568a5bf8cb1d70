//! Callback ids, which name their operation. Whoever has one needs leave all the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamplight_rpc::ExecutionArn;

pub fn write(arn: &ExecutionArn, operation: &str) -> String {
    STANDARD.encode(format!("{arn} {operation}"))
}

pub fn read(id: &str) -> Option<(ExecutionArn, String)> {
    let text = String::from_utf8(STANDARD.decode(id).ok()?).ok()?;
    let (arn, operation) = text.split_once(' ')?;
    Some((ExecutionArn::parse(arn)?, operation.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:1/durable-execution/n/i";
        let arn = ExecutionArn::parse(arn).unwrap();
        assert_eq!(read(&write(&arn, "op-1")), Some((arn, "op-1".to_owned())));
        for bad in ["", "%", "YQ==", &STANDARD.encode("a b")] {
            assert_eq!(read(bad), None);
        }
    }
}
