"use strict";
/**
 * What a handler's context says of its function and its event.
 *
 * Names are AWS's public contract. The methods that answer the event are not here:
 * they belong to the invocation. Also sets the trace id that AWS's SDKs read.
 */

/** `shared`: other events are under way, so that none of them can have the environment. */
function contextData(headers, { shared } = {}) {
  const { env } = process;
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  if (shared) return { ...about(headers, deadline), xRayTraceId: headers["lambda-runtime-trace-id"] };
  if (headers["lambda-runtime-trace-id"]) env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"];
  else delete env._X_AMZN_TRACE_ID;
  return about(headers, deadline);
}

function about(headers, deadline) {
  const { env } = process;
  return {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: fromJson(headers["lambda-runtime-client-context"], "ClientContext"),
    identity: fromJson(headers["lambda-runtime-cognito-identity"], "CognitoIdentity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

function fromJson(text, name) {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

module.exports = { contextData };
