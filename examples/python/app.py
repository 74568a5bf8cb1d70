"""Answers an S3 event with the name of the bucket it came from."""

import json


def lambda_handler(event, context):
    print(json.dumps(event))
    print("remaining time:", context.get_remaining_time_in_millis(), "ms")
    print("memory limit:", context.memory_limit_in_mb, "MB")
    bucket = event["Records"][0]["s3"]["bucket"]["name"]
    return {"statusCode": 200, "body": json.dumps(bucket)}
