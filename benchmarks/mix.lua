-- Of a hundred requests, 90 read a task, 8 list the first page, and 2 create a task.
-- wrk -s mix.lua URL -- PATH..., the paths of the tasks to read.
local paths, count = {}, 0

function init(args)
  paths = args
end

function request()
  count = count + 1
  local turn = count % 50
  if turn == 0 then
    return wrk.format("POST", "/tasks", { ["Content-Type"] = "application/json" }, '{"task": "Load test task"}')
  end
  if turn % 12 == 0 then
    return wrk.format("GET", "/tasks")
  end
  return wrk.format("GET", paths[count % #paths + 1])
end
