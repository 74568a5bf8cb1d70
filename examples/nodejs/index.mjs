// Answers an S3 event with the name of the bucket it came from.
export const handler = async (event, context) => {
  console.log(JSON.stringify(event));
  console.log("remaining time:", context.getRemainingTimeInMillis(), "ms");
  console.log("memory limit:", context.memoryLimitInMB, "MB");
  const bucket = event.Records[0].s3.bucket.name;
  return { statusCode: 200, body: JSON.stringify(bucket) };
};
