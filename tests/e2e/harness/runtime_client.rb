# frozen_string_literal: true

# A client of the Lambda Runtime API in Ruby, as the API's documentation describes one: stands in for
# AWS's own where that cannot be had. Errors have the shape that AWS's gives them.

require "json"
require "net/http"

$stdout.sync = true
BASE = "http://#{ENV.fetch("AWS_LAMBDA_RUNTIME_API")}/2018-06-01/runtime"

def post(path, body, headers = {})
  answer = Net::HTTP.post(URI(BASE + path), body, { "Content-Type" => "application/json" }.merge(headers))
  abort "#{path}: #{answer.code}" unless answer.code == "202"
end

def report(path, error, kind)
  type = "#{kind}<#{error.class}>"
  $stderr.puts "#{type}: #{error.message}"
  body = { errorMessage: error.message, errorType: type, stackTrace: error.backtrace || [] }
  post(path, body.to_json, "Lambda-Runtime-Function-Error-Type" => "Function.#{error.class.name.tr(":", "")}")
end

Context = Struct.new(:aws_request_id, :invoked_function_arn, :deadline_ms) do
  def function_name = ENV.fetch("AWS_LAMBDA_FUNCTION_NAME")

  def get_remaining_time_in_millis = [deadline_ms - (Time.now.to_f * 1000).to_i, 0].max
end

begin
  file, function = ENV.fetch("_HANDLER").split(".")
  $LOAD_PATH.unshift(ENV.fetch("LAMBDA_TASK_ROOT"))
  require file
  handler = method(function)
rescue Exception => e # As AWS's: a LoadError is none of the standard ones.
  report("/init/error", e, "Init")
  exit(252)
end

loop do
  uri = URI("#{BASE}/invocation/next")
  event = Net::HTTP.start(uri.host, uri.port, read_timeout: 1_000_000) { |http| http.get(uri.path) }
  abort "next: #{event.code}" unless event.code == "200"
  id = event["Lambda-Runtime-Aws-Request-Id"]
  ENV["_X_AMZN_TRACE_ID"] = event["Lambda-Runtime-Trace-Id"]
  context = Context.new(id, event["Lambda-Runtime-Invoked-Function-Arn"], event["Lambda-Runtime-Deadline-Ms"].to_i)
  begin
    answer = handler.call(event: JSON.parse(event.body), context: context)
    post("/invocation/#{id}/response", answer.to_json)
  rescue StandardError => e
    report("/invocation/#{id}/error", e, "Function")
  end
end
