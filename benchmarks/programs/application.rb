require "json"
require "set"
require "erb"
require "time"

Product = Struct.new(:id, :name, :price, :tags)
NAMES = %w[Crate Lamp Chair Table]
PRODUCTS = (0...2000).map do |i|
  Product.new(i, "#{NAMES[i % 4]} <#{i}>", (i * 7919 % 10007) / 100.0, Set.new(["t#{i % 7}", "u#{i % 11}"]))
end
BY_TAG = PRODUCTS.each_with_object(Hash.new { |hash, key| hash[key] = [] }) do |product, tags|
  product.tags.each { |tag| tags[tag] << product }
end
PAGE = ERB.new("<h1><%= ERB::Util.h(product.name) %></h1><p><%= product.price %> EUR</p>")

def handle(path)
  product = PRODUCTS[path.split("/").last.to_i]
  PAGE.result(binding)
end

handle("/products/42")
