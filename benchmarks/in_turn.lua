-- Reads the paths in turn.
-- wrk -s in_turn.lua URL -- PATH...
local requests, count = {}, 0

function init(args)
  for i, path in ipairs(args) do
    requests[i] = wrk.format("GET", path)
  end
end

function request()
  count = count + 1
  return requests[count % #requests + 1]
end
